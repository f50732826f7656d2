#include "schema/base/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

#include "schema/base/files.h"

namespace vms {
namespace {

/// The owner's process id as the lock file tells it; empty when it does not.
std::string ownerOf(int fd) {
  std::array<char, 16> text{};
  const ssize_t got = ::pread(fd, text.data(), text.size(), 0);
  std::string pid;
  for (ssize_t i = 0; i < got; ++i) {
    const char c = text[static_cast<std::size_t>(i)];
    if (c < '0' || c > '9') break;
    pid += c;
  }
  return pid;
}

}  // namespace

Result<FileLock> FileLock::acquire(const std::filesystem::path& path, const std::string& what) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return errnoError(errno, "cannot open the lock " + path.string() + " of " + what);
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return errnoError(errno, "cannot lock " + path.string());
    const std::string pid = ownerOf(fd.get());
    return Error(ErrorClass::Busy,
                 what + " is in use by " + (pid.empty() ? "another process" : "process " + pid) +
                     " (lock " + path.string() + "); stop that one first or use another file");
  }
  // For people only: a lost write changes nothing.
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd.get(), 0) == 0) {
    [[maybe_unused]] const ssize_t written = ::pwrite(fd.get(), pid.data(), pid.size(), 0);
  }
  return FileLock(std::move(fd));
}

}  // namespace vms
