// The functions that addon.cc offers to JavaScript; each is described in index.ts, its typed face.
#pragma once

#include "arguments.h"

napi_value open_queue(napi_env env, napi_callback_info info);
napi_value set_offload(napi_env env, napi_callback_info info);
napi_value close_descriptor(napi_env env, napi_callback_info info);
napi_value bind_slab(napi_env env, napi_callback_info info);
napi_value read_batch(napi_env env, napi_callback_info info);
napi_value write_batch(napi_env env, napi_callback_info info);
napi_value open_wake(napi_env env, napi_callback_info info);
napi_value wake(napi_env env, napi_callback_info info);
napi_value wait_readable(napi_env env, napi_callback_info info);
napi_value create_set(napi_env env, napi_callback_info info);
napi_value add_to_set(napi_env env, napi_callback_info info);
napi_value remove_from_set(napi_env env, napi_callback_info info);
napi_value steer_queues(napi_env env, napi_callback_info info);
napi_value map_file(napi_env env, napi_callback_info info);
napi_value open_icmp_errors(napi_env env, napi_callback_info info);
napi_value open_sender(napi_env env, napi_callback_info info);
napi_value copy_icmp_errors(napi_env env, napi_callback_info info);
