// Preloaded into the engine that is measured: counts what reaches the disk, one number in the file
// that VMS_BENCH_SYNCS names. Counting where the calls leave the process needs no trust in
// anybody's own counters.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>

namespace {

std::atomic<std::uint64_t>* openCounter() {
  const char* const path = std::getenv("VMS_BENCH_SYNCS");
  if (path == nullptr) return nullptr;
  const int fd = ::open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return nullptr;
  void* const shared =
      ::mmap(nullptr, sizeof(std::uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  return shared == MAP_FAILED ? nullptr : static_cast<std::atomic<std::uint64_t>*>(shared);
}

std::atomic<std::uint64_t>* const counter = openCounter();

int counted(const char* name, int fd) {
  if (counter != nullptr) counter->fetch_add(1, std::memory_order_relaxed);
  using Sync = int (*)(int);
  const auto real = reinterpret_cast<Sync>(::dlsym(RTLD_NEXT, name));
  return real(fd);
}

}  // namespace

extern "C" int fsync(int fd) { return counted("fsync", fd); }
extern "C" int fdatasync(int fd) { return counted("fdatasync", fd); }
