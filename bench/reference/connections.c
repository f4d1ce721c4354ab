// New connections per second: connect, one request with `Connection: close`, its answer, the server's FIN; so many at a time.
// The server closes first, so that no port of the client is kept in TIME_WAIT.
//
//   connections ADDRESS PORT AT_ONCE WARM_MS WINDOW_MS      one line of JSON: connections done in the window, its length, and
//                                                           how many failed at any time
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE_MAX = 512, SILENCE_MS = 3000 };

static const char REQUEST[] = "GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";

static struct sockaddr_in server;
static int events;
static long done, failed;
static struct { int descriptor, answered; } connections[AT_ONCE_MAX];

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void begin(uint32_t number) {
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  connections[number].descriptor = descriptor;
  connections[number].answered = 0;
  if (descriptor < 0 || (connect(descriptor, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS)) {
    perror("connect");
    exit(4);
  }
  struct epoll_event wanted = {.events = EPOLLOUT, .data.u32 = number};
  epoll_ctl(events, EPOLL_CTL_ADD, descriptor, &wanted);
}

static void again(uint32_t number, int good) {
  if (good) done++;
  else failed++;
  close(connections[number].descriptor);
  begin(number);
}

static void go_on(uint32_t number, uint32_t what) {
  const int descriptor = connections[number].descriptor;
  if (what & EPOLLOUT) {
    if (send(descriptor, REQUEST, sizeof REQUEST - 1, MSG_NOSIGNAL) < 0) return again(number, 0);
    struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = number};
    epoll_ctl(events, EPOLL_CTL_MOD, descriptor, &wanted);
    return;
  }
  char answer[4096];
  ssize_t bytes;
  while ((bytes = recv(descriptor, answer, sizeof answer, 0)) > 0) {
    if (memcmp(answer, "HTTP/1.1 200", 12) == 0) connections[number].answered = 1;
  }
  if (bytes == 0) again(number, connections[number].answered);
  else if (errno != EAGAIN) again(number, 0);
}

int main(int count, char **arguments) {
  if (count != 6) return 2;
  server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[2]))};
  const int at_once = atoi(arguments[3]);
  if (inet_pton(AF_INET, arguments[1], &server.sin_addr) != 1 || at_once < 1 || at_once > AT_ONCE_MAX) return 2;
  const int64_t window_begin = now_ns() + atoll(arguments[4]) * 1000000;
  const int64_t window_end = window_begin + atoll(arguments[5]) * 1000000;
  events = epoll_create1(0);
  for (uint32_t i = 0; i < (uint32_t)at_once; i++) begin(i);
  long before = -1;
  int64_t counted_from = 0, now;
  // At least one, so that the smallest window says whether there is a way at all.
  while ((now = now_ns()) < window_end || done + failed == 0) {
    if (before < 0 && now >= window_begin) {
      before = done;
      counted_from = now;
    }
    struct epoll_event happened[64];
    const int ready = epoll_wait(events, happened, 64, SILENCE_MS);
    if (ready == 0) {
      fprintf(stderr, "no connection got on for %d ms\n", SILENCE_MS);
      return 1;
    }
    for (int i = 0; i < ready; i++) go_on(happened[i].data.u32, happened[i].events);
  }
  printf("{\"connections\":%ld,\"ns\":%lld,\"failed\":%ld}\n", done - before, (long long)(now - counted_from), failed);
  return 0;
}
