// The limit of "one TUN queue, read and write": what flowpin does with the device, with a fixed rewrite in the place of
// everything else. One client, one Service with one endpoint; ports are kept.
//
//   c-loop DEVICE CLIENT VIP SNAT ENDPOINT      prints `ready` when packets flow; SIGTERM ends it
//
//   CLIENT -> VIP        becomes   SNAT -> ENDPOINT
//   ENDPOINT -> SNAT     becomes   VIP -> CLIENT
//
// Same system calls and offloads as native-bindings/addon/queue.cc: reads that do not block, one a packet, one write a
// packet, poll when there is none.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <netinet/ip.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef TUN_F_USO4 // kernel headers before 6.2
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum { TCP = 6, UDP = 17, TCP_CHECK = 16, UDP_CHECK = 6, IP_CHECK = 10 };

// What a packet of one direction has, what it gets, and what that adds to the sum under its checksums.
struct direction {
  uint32_t from, to, new_from, new_to;
  uint32_t delta;
};

// RFC 1624, equation 3: ~m + m' over the changed 16-bit words. The sum does not depend on byte order.
static uint32_t word_delta(uint32_t old, uint32_t new) {
  return (~old & 0xffff) + (~old >> 16) + (new & 0xffff) + (new >> 16);
}

static uint16_t fold(uint32_t sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)(sum + (sum >> 16));
}

static struct direction direction(uint32_t from, uint32_t to, uint32_t new_from, uint32_t new_to) {
  return (struct direction){from, to, new_from, new_to, fold(word_delta(from, new_from) + word_delta(to, new_to))};
}

static uint16_t updated(uint16_t check, uint32_t delta) { return ~fold((uint16_t)~check + delta); }

// True when the packet is of this direction and has been rewritten.
static int rewrite(uint8_t *packet, size_t length, int partial, const struct direction *way) {
  struct iphdr *ip = (struct iphdr *)packet;
  if (ip->saddr != way->from || ip->daddr != way->to) return 0;
  const int at = ip->protocol == TCP ? TCP_CHECK : ip->protocol == UDP ? UDP_CHECK : -1;
  if (at < 0 || length < ip->ihl * 4u + at + 2) return 0;
  ip->saddr = way->new_from;
  ip->daddr = way->new_to;
  ip->check = updated(ip->check, way->delta);
  uint16_t *check = (uint16_t *)(packet + ip->ihl * 4 + at);
  if (partial) {
    *check = fold(*check + way->delta); // NEEDS_CSUM: the sum of the pseudo-header, not its complement
  } else if (ip->protocol == TCP) {
    *check = updated(*check, way->delta);
  } else if (*check != 0) {
    *check = updated(*check, way->delta);
    if (*check == 0) *check = 0xffff;
  }
  return 1;
}

static int open_queue(const char *device) {
  const int queue = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
  strncpy(request.ifr_name, device, IFNAMSIZ - 1);
  if (queue < 0 || ioctl(queue, TUNSETIFF, &request) < 0) return -1;
  const unsigned long base = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  // UDP segmentation came with kernel 6.2; an older one refuses the whole call.
  if (ioctl(queue, TUNSETOFFLOAD, base | TUN_F_USO4 | TUN_F_USO6) < 0) ioctl(queue, TUNSETOFFLOAD, base);
  return queue;
}

int main(int count, char **arguments) {
  uint32_t addresses[4];
  if (count != 6) return 2;
  for (int i = 0; i < 4; i++) {
    if (inet_pton(AF_INET, arguments[2 + i], &addresses[i]) != 1) return 2;
  }
  const uint32_t client = addresses[0], vip = addresses[1], snat = addresses[2], endpoint = addresses[3];
  const struct direction there = direction(client, vip, snat, endpoint);
  const struct direction back = direction(endpoint, snat, vip, client);

  const int queue = open_queue(arguments[1]);
  if (queue < 0) {
    perror(arguments[1]);
    return 4;
  }
  puts("ready");
  fflush(stdout);

  // The packet behind the header of 10 bytes begins on a multiple of 4.
  static _Alignas(64) uint8_t memory[2 + sizeof(struct virtio_net_hdr) + 65536];
  uint8_t *frame = memory + 2;
  uint8_t *packet = frame + sizeof(struct virtio_net_hdr);
  for (;;) {
    const ssize_t length = read(queue, frame, sizeof memory - 2);
    if (length < 0) {
      struct pollfd readable = {queue, POLLIN, 0};
      poll(&readable, 1, 100);
      continue;
    }
    if (length < (ssize_t)(sizeof(struct virtio_net_hdr) + sizeof(struct iphdr)) || packet[0] >> 4 != 4) continue;
    const size_t bytes = (size_t)length - sizeof(struct virtio_net_hdr);
    const int partial = frame[0] & VIRTIO_NET_HDR_F_NEEDS_CSUM;
    if (!rewrite(packet, bytes, partial, &there) && !rewrite(packet, bytes, partial, &back)) continue;
    if (write(queue, frame, (size_t)length) < 0) continue; // a packet that the kernel refuses is lost, as on a wire
  }
}
