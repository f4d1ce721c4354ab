// Copies of the ICMP errors that the kernel delivers to this host, and a way to put packets onto a device. A raw socket gets a
// copy of every ICMP message that is delivered locally and takes none away (raw(7), icmp(7)); packet(7) is for the way back.
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "bindings.h"

namespace {

constexpr int IPV4 = 4;
constexpr int IPV6 = 6;
// Of linux/icmp.h, which cannot be included beside net/if.h.
constexpr int ICMP_FILTER = 1;

// Lets through the errors that a flow may be told of, and nothing else.
int filter_errors(int descriptor, int version) {
  if (version == IPV4) {
    // A bit for each type that is not wanted (struct icmp_filter).
    const uint32_t filter = ~((1u << ICMP_DEST_UNREACH) | (1u << ICMP_TIME_EXCEEDED) | (1u << ICMP_PARAMETERPROB));
    return setsockopt(descriptor, SOL_RAW, ICMP_FILTER, &filter, sizeof(filter));
  }
  icmp6_filter filter;
  ICMP6_FILTER_SETBLOCKALL(&filter);
  for (const int type : {ICMP6_DST_UNREACH, ICMP6_PACKET_TOO_BIG, ICMP6_TIME_EXCEEDED, ICMP6_PARAM_PROB})
    ICMP6_FILTER_SETPASS(type, &filter);
  if (setsockopt(descriptor, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter)) < 0) return -1;
  const int on = 1;  // to be told the destination, which is not in what a raw IPv6 socket reads
  return setsockopt(descriptor, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
}

// Reads an ICMPv6 message behind a header that is made of what the kernel says of it.
ssize_t read_with_ipv6_header(int descriptor, uint8_t* packet, size_t size) {
  auto* header = reinterpret_cast<ip6_hdr*>(packet);
  sockaddr_in6 source = {};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(in6_pktinfo))];
  iovec payload = {packet + sizeof(ip6_hdr), size - sizeof(ip6_hdr)};
  msghdr message = {};
  message.msg_name = &source;
  message.msg_namelen = sizeof(source);
  message.msg_iov = &payload;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t length = recvmsg(descriptor, &message, 0);
  if (length < 0) return length;

  memset(header, 0, sizeof(*header));
  header->ip6_flow = htonl(6u << 28);
  header->ip6_plen = htons(static_cast<uint16_t>(length));
  header->ip6_nxt = IPPROTO_ICMPV6;
  header->ip6_hlim = 64;
  header->ip6_src = source.sin6_addr;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != IPPROTO_IPV6 || part->cmsg_type != IPV6_PKTINFO) continue;
    in6_pktinfo info;
    memcpy(&info, CMSG_DATA(part), sizeof(info));
    header->ip6_dst = info.ipi6_addr;
  }
  return length + static_cast<ssize_t>(sizeof(ip6_hdr));
}

}  // namespace

napi_value open_icmp_errors(napi_env env, napi_callback_info info) {
  Arguments<1> arguments(env, info);
  const int32_t version = arguments.integer(0);
  if (!arguments.fit("openIcmpErrors(version: number)")) return nullptr;
  if (version != IPV4 && version != IPV6) return number(env, -EINVAL);
  const int descriptor = socket(version == IPV4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
                                version == IPV4 ? static_cast<int>(IPPROTO_ICMP) : static_cast<int>(IPPROTO_ICMPV6));
  if (descriptor < 0) return result_or_errno(env, -1);
  if (filter_errors(descriptor, version) < 0) {
    const int failure = errno;
    close(descriptor);
    return number(env, -failure);
  }
  return number(env, descriptor);
}

napi_value open_sender(napi_env env, napi_callback_info info) {
  Arguments<0> arguments(env, info);
  if (!arguments.fit("openSender()")) return nullptr;
  return result_or_errno(env, socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));  // 0: receives nothing
}

napi_value copy_icmp_errors(napi_env env, napi_callback_info info) {
  Arguments<5> arguments(env, info);
  const int32_t from = arguments.integer(0);
  const int32_t version = arguments.integer(1);
  const int32_t to = arguments.integer(2);
  const std::string device = arguments.text(3);
  const int32_t most = arguments.integer(4);
  if (!arguments.fit("copyIcmpErrors(from: number, version: number, to: number, device: string, most: number)"))
    return nullptr;

  alignas(ip6_hdr) uint8_t packet[2048];  // errors are 576 and 1280 bytes long at most (RFC 1812, RFC 4443)
  sockaddr_ll place = {};
  place.sll_family = AF_PACKET;
  place.sll_protocol = htons(version == IPV4 ? ETH_P_IP : ETH_P_IPV6);
  place.sll_ifindex = static_cast<int>(if_nametoindex(device.c_str()));
  int32_t count = 0;
  while (count < most) {
    const ssize_t length =
        version == IPV4 ? recv(from, packet, sizeof(packet), 0) : read_with_ipv6_header(from, packet, sizeof(packet));
    if (length < 0) return errno == EAGAIN ? number(env, count) : result_or_errno(env, -1);
    const ssize_t sent =
        sendto(to, packet, static_cast<size_t>(length), 0, reinterpret_cast<sockaddr*>(&place), sizeof(place));
    if (sent < 0) return result_or_errno(env, -1);
    count++;
  }
  return number(env, count);
}
