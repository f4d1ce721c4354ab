// An HTTP server that is not what a measurement waits for: one thread, epoll, one fixed answer. It understands as much as
// wrk and connections.c send: requests without a body, and `Connection: close`.
//
//   http-server ADDRESS PORT      prints `ready` when it listens; SIGTERM ends it
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DESCRIPTORS = 65536, EVENTS = 64, REQUEST_MAX = 4096 };

static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n"
    "An answer of 64 bytes, the same for everybody and for each one.\n";
static const char CLOSE[] = "Connection: close";

// A request that has come in part, by descriptor.
static char *pending[DESCRIPTORS];
static size_t pending_bytes[DESCRIPTORS];

static int listening(const char *address, const char *port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (inet_pton(AF_INET, address, &at.sin_addr) != 1 || bind(listener, (struct sockaddr *)&at, sizeof at) < 0 ||
      listen(listener, 4096) < 0) {
    perror(address);
    exit(4);
  }
  return listener;
}

static void end(int descriptor) {
  pending_bytes[descriptor] = 0;
  close(descriptor);
}

// Answers every whole request that has come; what is left waits for its rest.
static void serve(int descriptor) {
  if (pending[descriptor] == NULL) pending[descriptor] = malloc(REQUEST_MAX + 1);
  char *text = pending[descriptor];
  size_t *bytes = &pending_bytes[descriptor];
  const ssize_t got = recv(descriptor, text + *bytes, REQUEST_MAX - *bytes, 0);
  if (got <= 0) return end(descriptor);
  *bytes += (size_t)got;
  text[*bytes] = 0;
  char *begin = text;
  for (char *behind; (behind = strstr(begin, "\r\n\r\n")) != NULL; begin = behind + 4) {
    *behind = 0;
    if (send(descriptor, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL) < 0) return end(descriptor);
    if (strstr(begin, CLOSE) != NULL) return end(descriptor);
  }
  *bytes -= (size_t)(begin - text);
  if (*bytes == REQUEST_MAX) return end(descriptor); // no request is so long
  memmove(text, begin, *bytes);
}

int main(int count, char **arguments) {
  if (count != 3) return 2;
  const struct rlimit limit = {DESCRIPTORS, DESCRIPTORS};
  setrlimit(RLIMIT_NOFILE, &limit);
  const int listener = listening(arguments[1], arguments[2]);
  const int events = epoll_create1(0);
  struct epoll_event wanted = {.events = EPOLLIN, .data.fd = listener};
  epoll_ctl(events, EPOLL_CTL_ADD, listener, &wanted);
  puts("ready");
  fflush(stdout);
  for (;;) {
    struct epoll_event happened[EVENTS];
    const int ready = epoll_wait(events, happened, EVENTS, -1);
    for (int i = 0; i < ready; i++) {
      if (happened[i].data.fd != listener) {
        serve(happened[i].data.fd);
        continue;
      }
      for (int descriptor; (descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        const int on = 1;
        if (descriptor >= DESCRIPTORS) {
          close(descriptor);
          continue;
        }
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        wanted = (struct epoll_event){.events = EPOLLIN, .data.fd = descriptor};
        epoll_ctl(events, EPOLL_CTL_ADD, descriptor, &wanted);
      }
    }
  }
}
