// Registration. The addon keeps no global state, so that every worker thread can load its own instance
// (context-aware, Node-API "NAPI_MODULE_INIT").
#include <linux/if_tun.h>
// The kernel's header has a field named `class`, which C++ does not allow.
#define class class_
#include <linux/virtio_net.h>
#undef class

#include <cstddef>

#include "bindings.h"

namespace {

bool set_function(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function = nullptr;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function) == napi_ok &&
         napi_set_named_property(env, exports, name, function) == napi_ok;
}

bool set_number(napi_env env, napi_value exports, const char* name, int64_t value) {
  return napi_set_named_property(env, exports, name, number(env, value)) == napi_ok;
}

}  // namespace

// linux/if_tun.h has these since 6.2; an older header with a newer kernel still gets them.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

NAPI_MODULE_INIT() {
  const bool good = set_function(env, exports, "openQueue", open_queue) &&
                    set_function(env, exports, "setOffload", set_offload) &&
                    set_function(env, exports, "closeDescriptor", close_descriptor) &&
                    set_function(env, exports, "bindSlab", bind_slab) &&
                    set_function(env, exports, "readBatch", read_batch) &&
                    set_function(env, exports, "writeBatch", write_batch) &&
                    set_function(env, exports, "openWake", open_wake) &&
                    set_function(env, exports, "wake", wake) &&
                    set_function(env, exports, "waitReadable", wait_readable) &&
                    set_function(env, exports, "mapFile", map_file) &&
                    set_function(env, exports, "openIcmpErrors", open_icmp_errors) &&
                    set_function(env, exports, "openSender", open_sender) &&
                    set_function(env, exports, "copyIcmpErrors", copy_icmp_errors) &&
                    set_function(env, exports, "createSet", create_set) &&
                    set_function(env, exports, "addToSet", add_to_set) &&
                    set_function(env, exports, "removeFromSet", remove_from_set) &&
                    set_function(env, exports, "steerQueues", steer_queues) &&
                    set_number(env, exports, "TUN_F_CSUM", TUN_F_CSUM) &&
                    set_number(env, exports, "TUN_F_TSO4", TUN_F_TSO4) &&
                    set_number(env, exports, "TUN_F_TSO6", TUN_F_TSO6) &&
                    set_number(env, exports, "TUN_F_TSO_ECN", TUN_F_TSO_ECN) &&
                    set_number(env, exports, "TUN_F_USO4", TUN_F_USO4) &&
                    set_number(env, exports, "TUN_F_USO6", TUN_F_USO6) &&
                    set_number(env, exports, "VNET_HDR_BYTES", sizeof(virtio_net_hdr)) &&
                    set_number(env, exports, "VNET_HDR_FLAGS", offsetof(virtio_net_hdr, flags)) &&
                    set_number(env, exports, "VNET_HDR_GSO_TYPE", offsetof(virtio_net_hdr, gso_type)) &&
                    set_number(env, exports, "VNET_HDR_HDR_LEN", offsetof(virtio_net_hdr, hdr_len)) &&
                    set_number(env, exports, "VNET_HDR_GSO_SIZE", offsetof(virtio_net_hdr, gso_size)) &&
                    set_number(env, exports, "VNET_HDR_CSUM_START", offsetof(virtio_net_hdr, csum_start)) &&
                    set_number(env, exports, "VNET_HDR_CSUM_OFFSET", offsetof(virtio_net_hdr, csum_offset));
  if (!good) napi_throw_error(env, nullptr, "flowpin addon: registration failed");
  return exports;
}
