// UDP load and its counting: iperf3 is no match for 64-byte datagrams.
//
//   udp receive ADDRESS PORT WARM_MS WINDOW_MS     prints `ready`; then a line of JSON with the packets of the window, which begins
//                                                  WARM_MS after the first, and its length; at SIGTERM or after silence a
//                                                  second one with all packets that came
//   udp send ADDRESS PORT BYTES FLOWS MS           as fast as it can, from one port in batches, from many in turn, until
//                                                  SIGTERM, and so long at most
//   udp echo ADDRESS PORT                          prints `ready`; sends everything back until SIGTERM
//   udp first ADDRESS PORT COUNT                   COUNT exchanges with an echo, one after another, each from a new port; one
//                                                  line of JSON: how many were answered, and the median in microseconds
//
// A datagram is BYTES long from the IP header on, so that 64 is the 64 of "64-byte packets". Every run ends by itself.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, HEADERS = 20 + 8, PACKET_MAX = 1500, FLOWS_MAX = 4096, SILENCE_S = 5 };

static const uint32_t MARK = 0x666c6f77; // every datagram begins with it: nothing else is counted

static char payload[PACKET_MAX];

static volatile sig_atomic_t stopping;

static void stop(int signal) { stopping = signal; }

static void stop_at_sigterm(void) {
  const struct sigaction action = {.sa_handler = stop}; // without SA_RESTART: it ends a wait
  sigaction(SIGTERM, &action, NULL);
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fail(const char *what) {
  perror(what);
  exit(4);
}

static struct sockaddr_in address_of(char **arguments) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[1]))};
  if (inet_pton(AF_INET, arguments[0], &address.sin_addr) != 1) exit(2);
  return address;
}

static int opened(const struct sockaddr_in *address, int (*attach)(int, const struct sockaddr *, socklen_t)) {
  const int descriptor = socket(AF_INET, SOCK_DGRAM, 0);
  if (descriptor < 0 || attach(descriptor, (const struct sockaddr *)address, sizeof *address) < 0) fail("socket");
  return descriptor;
}

static void wait_at_most(int descriptor, int ms) {
  const struct timeval time = {ms / 1000, ms % 1000 * 1000};
  setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
}

static void ready(void) {
  puts("ready");
  fflush(stdout);
}

// Vectors for BATCH datagrams, each in a buffer of its own or, for sending, all from the same one.
static void batch_of(struct mmsghdr *messages, struct iovec *vectors, char *buffers, size_t stride, size_t length) {
  for (int i = 0; i < BATCH; i++) {
    vectors[i] = (struct iovec){buffers + stride * i, length};
    messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &vectors[i], .msg_iovlen = 1}};
  }
}

static int receive(char **arguments) {
  const struct sockaddr_in address = address_of(arguments);
  const int64_t warm = atoll(arguments[2]) * 1000000, window = atoll(arguments[3]) * 1000000;
  const int descriptor = opened(&address, bind);
  const int room = 8 << 20;
  setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  wait_at_most(descriptor, SILENCE_S * 1000);
  stop_at_sigterm();
  static char buffers[BATCH][PACKET_MAX];
  struct mmsghdr messages[BATCH];
  struct iovec vectors[BATCH];
  batch_of(messages, vectors, buffers[0], PACKET_MAX, PACKET_MAX);
  ready();

  int64_t total = 0, counted = 0, came = 0, begin = 0, end = 0;
  while (!stopping) {
    const int count = recvmmsg(descriptor, messages, BATCH, MSG_WAITFORONE, NULL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) break; // silence
    const int64_t now = now_ns();
    if (came == 0) came = now;
    int good = 0;
    for (int i = 0; i < count; i++) good += memcmp(buffers[i], &MARK, sizeof MARK) == 0;
    total += good;
    if (begin == 0) {
      if (now - came >= warm) begin = now;
    } else if (end == 0) {
      counted += good;
      if (now - begin >= window) {
        end = now;
        printf("{\"packets\":%lld,\"ns\":%lld}\n", (long long)counted, (long long)(end - begin));
        fflush(stdout);
      }
    } else if (now - end > SILENCE_S * 1000000000LL) {
      break; // a sender that does not end
    }
  }
  printf("{\"total\":%lld}\n", (long long)total);
  return end == 0; // the packets stopped before the window's end
}

static int send_all(char **arguments) {
  const struct sockaddr_in address = address_of(arguments);
  const int bytes = atoi(arguments[2]) - HEADERS, flows = atoi(arguments[3]);
  if (bytes < (int)sizeof MARK || bytes > PACKET_MAX - HEADERS || flows < 1 || flows > FLOWS_MAX) return 2;
  const struct rlimit limit = {FLOWS_MAX + 16, FLOWS_MAX + 16};
  setrlimit(RLIMIT_NOFILE, &limit);
  memcpy(payload, &MARK, sizeof MARK);
  static int descriptors[FLOWS_MAX];
  for (int i = 0; i < flows; i++) descriptors[i] = opened(&address, connect);
  struct mmsghdr messages[BATCH];
  struct iovec vectors[BATCH];
  batch_of(messages, vectors, payload, 0, (size_t)bytes);

  stop_at_sigterm();
  const int64_t end = now_ns() + atoll(arguments[4]) * 1000000;
  // What the kernel has no room for is tried again next time round; an ICMP error of the first moments is no end.
  for (int flow = 0; !stopping && now_ns() < end;) {
    if (flows == 1) {
      sendmmsg(descriptors[0], messages, BATCH, 0);
    } else {
      for (int i = 0; i < BATCH; i++, flow = (flow + 1) % flows) send(descriptors[flow], payload, (size_t)bytes, 0);
    }
  }
  return 0;
}

static _Noreturn void echo(char **arguments) {
  const struct sockaddr_in address = address_of(arguments);
  const int descriptor = opened(&address, bind);
  ready();
  for (;;) {
    char datagram[PACKET_MAX];
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    const ssize_t bytes = recvfrom(descriptor, datagram, sizeof datagram, 0, (struct sockaddr *)&peer, &length);
    if (bytes >= 0) sendto(descriptor, datagram, (size_t)bytes, 0, (struct sockaddr *)&peer, length);
  }
}

static int ascending(const void *a, const void *b) {
  const int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
  return (left > right) - (left < right);
}

static int first(char **arguments) {
  const struct sockaddr_in address = address_of(arguments);
  const int count = atoi(arguments[2]);
  if (count < 1 || count > FLOWS_MAX) return 2;
  static int64_t times[FLOWS_MAX];
  int answered = 0, lost = 0;
  memcpy(payload, &MARK, sizeof MARK);
  for (int i = 0; i < count && lost < 3; i++) {
    const int descriptor = opened(&address, connect);
    char answer[PACKET_MAX];
    wait_at_most(descriptor, 1000);
    const int64_t begin = now_ns();
    send(descriptor, payload, 64 - HEADERS, 0);
    const ssize_t bytes = recv(descriptor, answer, sizeof answer, 0);
    const int64_t took = now_ns() - begin;
    if (bytes == 64 - HEADERS && memcmp(answer, payload, (size_t)bytes) == 0) times[answered++] = took;
    else lost++;
    close(descriptor);
  }
  qsort(times, (size_t)answered, sizeof *times, ascending);
  printf("{\"answered\":%d,\"lost\":%d,\"us\":%.3f}\n", answered, lost, answered ? times[answered / 2] / 1000.0 : 0.0);
  return answered > 0 && lost == 0 ? 0 : 1;
}

int main(int count, char **arguments) {
  const char *mode = count > 1 ? arguments[1] : "";
  if (count == 6 && strcmp(mode, "receive") == 0) return receive(arguments + 2);
  if (count == 7 && strcmp(mode, "send") == 0) return send_all(arguments + 2);
  if (count == 4 && strcmp(mode, "echo") == 0) echo(arguments + 2);
  if (count == 5 && strcmp(mode, "first") == 0) return first(arguments + 2);
  fputs("see the head of udp.c\n", stderr);
  return 2;
}
