// One queue of a TUN device: opened, read and written in batches, waited for.
// Kernel documentation: Documentation/networking/tuntap.rst; drivers/net/tun.c is the implementation.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>

#include "bindings.h"

namespace {

// A queue's descriptor together with the packet memory that JavaScript owns. The references keep that memory
// alive (and in place: an ArrayBuffer's bytes never move) for as long as JavaScript holds the binding.
struct BoundSlab {
  int descriptor;
  uint8_t* slab;
  int32_t* lengths;
  const int32_t* chain;  // of each slot: next + 1, part's offset in its frame, part's length
  int32_t slot_count;
  int32_t slot_bytes;
  int32_t frame_at;
  napi_ref slab_reference;
  napi_ref lengths_reference;
  napi_ref chain_reference;

  uint8_t* frame(int32_t slot) const {
    return slab + static_cast<size_t>(slot) * static_cast<size_t>(slot_bytes) + frame_at;
  }
};

void release_slab(napi_env env, void* data, void*) {
  auto* bound = static_cast<BoundSlab*>(data);
  napi_delete_reference(env, bound->slab_reference);
  napi_delete_reference(env, bound->lengths_reference);
  napi_delete_reference(env, bound->chain_reference);
  delete bound;
}

// read(2) and its like without glibc's wrappers, which in a process with threads make every call a point where a thread may
// be cancelled: two locked instructions, a hundredth of what a packet costs.
ssize_t read_frame(int descriptor, void* frame, size_t room) { return syscall(SYS_read, descriptor, frame, room); }
ssize_t write_frame(int descriptor, const void* frame, size_t length) {
  return syscall(SYS_write, descriptor, frame, length);
}
ssize_t write_parts(int descriptor, const iovec* parts, int32_t count) {
  return syscall(SYS_writev, descriptor, parts, static_cast<size_t>(count));
}

// Signals (a profiler's, for one) must not look like a failure of the device.
template <typename Call>
ssize_t retry_interrupted(Call call) {
  ssize_t result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

constexpr int32_t kChainWords = 3;
constexpr int32_t kPartsMax = 128;

// A frame, and the parts of other slots' frames that are chained to it, as one packet.
ssize_t write_packet(const BoundSlab* bound, int32_t slot, int32_t length) {
  int32_t next = bound->chain[slot * kChainWords] - 1;
  if (next < 0) return write_frame(bound->descriptor, bound->frame(slot), static_cast<size_t>(length));
  iovec parts[kPartsMax];
  int32_t count = 0;
  parts[count++] = {bound->frame(slot), static_cast<size_t>(length)};
  while (next >= 0) {
    if (next >= bound->slot_count || count == kPartsMax) break;
    const int32_t* link = bound->chain + next * kChainWords;
    const int32_t room = bound->slot_bytes - bound->frame_at;
    if (link[1] < 0 || link[2] < 0 || link[1] > room || link[2] > room - link[1]) break;
    parts[count++] = {bound->frame(next) + link[1], static_cast<size_t>(link[2])};
    next = link[0] - 1;
  }
  if (next >= 0) {  // a chain that leads nowhere or round in a circle
    errno = EINVAL;
    return -1;
  }
  return write_parts(bound->descriptor, parts, count);
}

}  // namespace

napi_value open_queue(napi_env env, napi_callback_info info) {
  Arguments<1> arguments(env, info);
  const std::string name = arguments.text(0);
  if (!arguments.fit("openQueue(name: string)")) return nullptr;
  if (name.empty() || name.size() >= IFNAMSIZ) return number(env, -ENAMETOOLONG);

  const int descriptor = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) return result_or_errno(env, -1);

  ifreq request = {};
  request.ifr_flags = static_cast<short>(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
  memcpy(request.ifr_name, name.data(), name.size());
  if (ioctl(descriptor, TUNSETIFF, &request) < 0) {
    const int failure = errno;
    close(descriptor);
    return number(env, -failure);
  }
  return number(env, descriptor);
}

napi_value set_offload(napi_env env, napi_callback_info info) {
  Arguments<2> arguments(env, info);
  const int32_t descriptor = arguments.integer(0);
  const int32_t flags = arguments.integer(1);
  if (!arguments.fit("setOffload(descriptor: number, flags: number)")) return nullptr;
  return result_or_errno(env, ioctl(descriptor, TUNSETOFFLOAD, static_cast<unsigned long>(flags)));
}

napi_value close_descriptor(napi_env env, napi_callback_info info) {
  Arguments<1> arguments(env, info);
  const int32_t descriptor = arguments.integer(0);
  if (!arguments.fit("closeDescriptor(descriptor: number)")) return nullptr;
  return result_or_errno(env, close(descriptor));
}

napi_value bind_slab(napi_env env, napi_callback_info info) {
  const char* signature =
      "bindSlab(descriptor: number, slab: ArrayBuffer, lengths: Int32Array, chain: Int32Array, slotBytes: number, "
      "frameAt: number)";
  Arguments<6> arguments(env, info);
  const int32_t descriptor = arguments.integer(0);
  const Bytes chain = arguments.words(3);
  const int32_t slot_bytes = arguments.integer(4);
  const int32_t frame_at = arguments.integer(5);
  if (!arguments.fit(signature)) return nullptr;

  void* slab = nullptr;
  size_t slab_bytes = 0;
  void* lengths = nullptr;
  size_t slot_count = 0;
  napi_typedarray_type type = napi_uint8_array;
  const bool good =
      napi_get_arraybuffer_info(env, arguments.raw(1), &slab, &slab_bytes) == napi_ok &&
      napi_get_typedarray_info(env, arguments.raw(2), &type, &slot_count, &lengths, nullptr, nullptr) == napi_ok &&
      type == napi_int32_array && slot_bytes > 0 && frame_at >= 0 && frame_at < slot_bytes && slot_count > 0 &&
      slab_bytes == slot_count * static_cast<size_t>(slot_bytes) &&
      chain.size == slot_count * kChainWords * sizeof(int32_t);
  if (!good) {
    napi_throw_type_error(env, nullptr, signature);
    return nullptr;
  }

  auto* bound = new BoundSlab{descriptor, static_cast<uint8_t*>(slab), static_cast<int32_t*>(lengths),
                              static_cast<const int32_t*>(chain.data), static_cast<int32_t>(slot_count), slot_bytes,
                              frame_at, nullptr, nullptr, nullptr};
  napi_value handle = nullptr;
  if (napi_create_reference(env, arguments.raw(1), 1, &bound->slab_reference) != napi_ok ||
      napi_create_reference(env, arguments.raw(2), 1, &bound->lengths_reference) != napi_ok ||
      napi_create_reference(env, arguments.raw(3), 1, &bound->chain_reference) != napi_ok ||
      napi_create_external(env, bound, release_slab, nullptr, &handle) != napi_ok) {
    napi_throw_error(env, nullptr, "bindSlab: out of memory");
    return nullptr;
  }
  return handle;
}

napi_value read_batch(napi_env env, napi_callback_info info) {
  Arguments<1> arguments(env, info);
  const BoundSlab* bound = arguments.external<BoundSlab>(0);
  if (!arguments.fit("readBatch(bound: BoundSlab)")) return nullptr;

  // A TUN read answers exactly one packet (tun_do_read), so a batch is as many reads as there are packets.
  int32_t count = 0;
  while (count < bound->slot_count) {
    const ssize_t length = retry_interrupted([&] {
      const auto room = static_cast<size_t>(bound->slot_bytes - bound->frame_at);
      return read_frame(bound->descriptor, bound->frame(count), room);
    });
    if (length < 0) {
      if (errno == EAGAIN || count > 0) break;  // what was read goes first; a lasting error comes back next time
      return result_or_errno(env, -1);
    }
    bound->lengths[count++] = static_cast<int32_t>(length);
  }
  return number(env, count);
}

napi_value write_batch(napi_env env, napi_callback_info info) {
  Arguments<2> arguments(env, info);
  const BoundSlab* bound = arguments.external<BoundSlab>(0);
  const int32_t count = arguments.integer(1);
  if (!arguments.fit("writeBatch(bound: BoundSlab, count: number)")) return nullptr;
  if (count < 0 || count > bound->slot_count) return number(env, -EINVAL);

  int32_t written = 0;
  for (int32_t slot = 0; slot < count; slot++) {
    const int32_t length = bound->lengths[slot];
    if (length <= 0 || length > bound->slot_bytes - bound->frame_at) continue;
    const ssize_t result = retry_interrupted([&] { return write_packet(bound, slot, length); });
    if (result < 0) {
      bound->lengths[slot] = -errno;  // told per slot: one refused packet must not hide the others
    } else {
      written++;
    }
  }
  return number(env, written);
}

napi_value open_wake(napi_env env, napi_callback_info info) {
  Arguments<0> arguments(env, info);
  if (!arguments.fit("openWake()")) return nullptr;
  return result_or_errno(env, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
}

napi_value wake(napi_env env, napi_callback_info info) {
  Arguments<1> arguments(env, info);
  const int32_t descriptor = arguments.integer(0);
  if (!arguments.fit("wake(descriptor: number)")) return nullptr;
  return result_or_errno(env, eventfd_write(descriptor, 1));
}

napi_value wait_readable(napi_env env, napi_callback_info info) {
  Arguments<3> arguments(env, info);
  const BoundSlab* bound = arguments.external<BoundSlab>(0);
  const int32_t wake_descriptor = arguments.integer(1);
  const int32_t timeout_ms = arguments.integer(2);
  if (!arguments.fit("waitReadable(bound: BoundSlab, wake: number, timeoutMs: number)")) return nullptr;
  if (timeout_ms < 0) return number(env, -EINVAL);  // never a wait without an upper bound

  pollfd watched[] = {{bound->descriptor, POLLIN, 0}, {wake_descriptor, POLLIN, 0}};
  const int ready = poll(watched, 2, timeout_ms);
  if (ready < 0) return errno == EINTR ? number(env, 0) : result_or_errno(env, ready);
  if (watched[1].revents & POLLIN) {
    eventfd_t calls;
    eventfd_read(wake_descriptor, &calls);  // all of them are answered by being awake
  }
  return number(env, watched[0].revents != 0);
}
