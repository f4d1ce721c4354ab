// Reading JavaScript arguments. Every binding takes an exact number of arguments of known types;
// a wrong call is a programmer's mistake and throws a TypeError. What the kernel answers never throws:
// it is returned as a number, negative errno on failure.
#pragma once

#include <node_api.h>

#include <cerrno>
#include <cstdint>
#include <string>

struct Bytes {
  const void* data = nullptr;
  size_t size = 0;
};

template <size_t Count>
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) : env_(env) {
    size_t given = Count;
    good_ = napi_get_cb_info(env, info, &given, values_, nullptr, nullptr) == napi_ok && given == Count;
  }

  int32_t integer(size_t at) {
    int32_t value = 0;
    good_ = good_ && napi_get_value_int32(env_, values_[at], &value) == napi_ok;
    return value;
  }

  // For sizes past 2 GiB: exact up to 2^53.
  int64_t bytes(size_t at) {
    int64_t value = 0;
    good_ = good_ && napi_get_value_int64(env_, values_[at], &value) == napi_ok;
    return value;
  }

  std::string text(size_t at) {
    char buffer[4096];
    size_t length = 0;
    good_ = good_ && napi_get_value_string_utf8(env_, values_[at], buffer, sizeof buffer, &length) == napi_ok &&
            length < sizeof buffer - 1;
    return good_ ? std::string(buffer, length) : std::string();
  }

  // The memory of an Int32Array; valid until JavaScript runs again.
  Bytes words(size_t at) {
    napi_typedarray_type type = napi_uint8_array;
    void* data = nullptr;
    size_t length = 0;
    good_ = good_ &&
            napi_get_typedarray_info(env_, values_[at], &type, &length, &data, nullptr, nullptr) == napi_ok &&
            type == napi_int32_array;
    return good_ ? Bytes{data, length * sizeof(int32_t)} : Bytes{};
  }

  template <typename T>
  T* external(size_t at) {
    void* data = nullptr;
    good_ = good_ && napi_get_value_external(env_, values_[at], &data) == napi_ok;
    return static_cast<T*>(data);
  }

  napi_value raw(size_t at) const { return values_[at]; }

  // False, with a TypeError pending, when the call did not fit the signature.
  bool fit(const char* signature) {
    if (!good_) napi_throw_type_error(env_, nullptr, signature);
    return good_;
  }

 private:
  napi_env env_;
  napi_value values_[Count + 1] = {};  // an array of none is not C++
  bool good_ = false;
};

inline napi_value number(napi_env env, int64_t value) {
  napi_value result = nullptr;
  napi_create_int64(env, value, &result);
  return result;
}

// The result of a system call: itself, or the negative errno.
inline napi_value result_or_errno(napi_env env, int64_t result) {
  return number(env, result < 0 ? -static_cast<int64_t>(errno) : result);
}
