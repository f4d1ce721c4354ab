// A file mapped into memory and given to JavaScript as an ArrayBuffer. Threads and processes that map the same
// file share its bytes; what was written is still there after `kill -9` of the writer (mmap(2), MAP_SHARED).
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bindings.h"

namespace {

void unmap(napi_env, void* data, void* hint) { munmap(data, reinterpret_cast<size_t>(hint)); }

// The descriptor of the file, at least `bytes` long with its blocks allocated, or -1 with errno set.
// posix_fallocate and not ftruncate: in a full tmpfs a hole would end the process with SIGBUS on first touch.
int open_allocated(const std::string& path, off_t bytes) {
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor < 0) return -1;
  const int failure = posix_fallocate(descriptor, 0, bytes);
  if (failure == 0) return descriptor;
  close(descriptor);
  errno = failure;
  return -1;
}

}  // namespace

napi_value map_file(napi_env env, napi_callback_info info) {
  Arguments<2> arguments(env, info);
  const std::string path = arguments.text(0);
  const int64_t bytes = arguments.bytes(1);
  if (!arguments.fit("mapFile(path: string, bytes: number)")) return nullptr;
  if (bytes <= 0) return number(env, -EINVAL);

  const int descriptor = open_allocated(path, bytes);
  if (descriptor < 0) return result_or_errno(env, -1);
  const auto size = static_cast<size_t>(bytes);
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  const int failure = errno;
  close(descriptor);
  if (memory == MAP_FAILED) return number(env, -failure);

  napi_value buffer = nullptr;
  if (napi_create_external_arraybuffer(env, memory, size, unmap, reinterpret_cast<void*>(size), &buffer) != napi_ok) {
    munmap(memory, size);
    return number(env, -ENOMEM);
  }
  return buffer;
}
