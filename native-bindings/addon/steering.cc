// Which queue of a TUN device a packet goes to, decided by a program in the kernel (TUNSETSTEERINGEBPF), and the set of
// addresses that the program looks up. bpf(2) has no wrapper in the C library.
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "bindings.h"

namespace {

int64_t bpf(int command, bpf_attr* attributes) {
  return syscall(__NR_bpf, command, attributes, sizeof *attributes);
}

uint64_t address_of(const void* memory) { return reinterpret_cast<uint64_t>(memory); }

}  // namespace

napi_value create_set(napi_env env, napi_callback_info info) {
  Arguments<2> arguments(env, info);
  const int32_t key_bytes = arguments.integer(0);
  const int32_t most = arguments.integer(1);
  if (!arguments.fit("createSet(keyBytes: number, most: number)")) return nullptr;
  bpf_attr attributes = {};
  attributes.map_type = BPF_MAP_TYPE_HASH;
  attributes.key_size = static_cast<uint32_t>(key_bytes);
  attributes.value_size = 1;  // a map of nothing there is not
  attributes.max_entries = static_cast<uint32_t>(most);
  attributes.map_flags = BPF_F_NO_PREALLOC;
  return result_or_errno(env, bpf(BPF_MAP_CREATE, &attributes));
}

napi_value add_to_set(napi_env env, napi_callback_info info) {
  Arguments<2> arguments(env, info);
  const int32_t set = arguments.integer(0);
  const Bytes key = arguments.words(1);
  if (!arguments.fit("addToSet(set: number, key: Int32Array)")) return nullptr;
  const uint8_t present = 1;
  bpf_attr attributes = {};
  attributes.map_fd = static_cast<uint32_t>(set);
  attributes.key = address_of(key.data);
  attributes.value = address_of(&present);
  return result_or_errno(env, bpf(BPF_MAP_UPDATE_ELEM, &attributes));
}

napi_value remove_from_set(napi_env env, napi_callback_info info) {
  Arguments<2> arguments(env, info);
  const int32_t set = arguments.integer(0);
  const Bytes key = arguments.words(1);
  if (!arguments.fit("removeFromSet(set: number, key: Int32Array)")) return nullptr;
  bpf_attr attributes = {};
  attributes.map_fd = static_cast<uint32_t>(set);
  attributes.key = address_of(key.data);
  return result_or_errno(env, bpf(BPF_MAP_DELETE_ELEM, &attributes));
}

napi_value steer_queues(napi_env env, napi_callback_info info) {
  Arguments<2> arguments(env, info);
  const int32_t queue = arguments.integer(0);
  const Bytes program = arguments.words(1);
  if (!arguments.fit("steerQueues(queue: number, program: Int32Array)")) return nullptr;
  bpf_attr attributes = {};
  attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  attributes.insns = address_of(program.data);
  attributes.insn_cnt = static_cast<uint32_t>(program.size / sizeof(bpf_insn));
  attributes.license = address_of("Apache-2.0");
  int descriptor = static_cast<int>(bpf(BPF_PROG_LOAD, &attributes));
  if (descriptor < 0) return result_or_errno(env, -1);
  const int attached = ioctl(queue, TUNSETSTEERINGEBPF, &descriptor);
  const int failure = errno;
  close(descriptor);  // the device holds the program
  return number(env, attached < 0 ? -failure : 0);
}
