#include "runner/disk_reserve.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "schema/base/unique_fd.h"

namespace vms::runner {
namespace {

/// Bytes that an unprivileged writer can still have; 0 if that cannot be known.
std::uint64_t freeBytes(const std::filesystem::path& folder) {
  struct statvfs status {};
  if (::statvfs(folder.empty() ? "." : folder.c_str(), &status) != 0) return 0;
  return std::uint64_t{status.f_bavail} * status.f_frsize;
}

}  // namespace

DiskReserve::DiskReserve(std::filesystem::path path, std::uint64_t bytes)
    : path_(std::move(path)), bytes_(bytes) {
  struct stat status {};
  // Blocks, not the size: a sparse file reserves nothing.
  present_ = bytes_ > 0 && ::stat(path_.c_str(), &status) == 0 &&
             static_cast<std::uint64_t>(status.st_blocks) * 512 >= bytes_;
  if (!present_) ::unlink(path_.c_str());
}

bool DiskReserve::release() {
  if (!present_) return false;
  present_ = false;
  return ::unlink(path_.c_str()) == 0;
}

bool DiskReserve::restore() {
  if (bytes_ == 0) return true;
  const std::uint64_t free = freeBytes(path_.parent_path());
  if (present_) return free >= bytes_;
  if (free / 2 < bytes_) return false;
  present_ = make();
  return present_;
}

bool DiskReserve::make() const {
  const UniqueFd fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return false;
  if (::posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes_)) == 0) return true;
  ::unlink(path_.c_str());
  return false;
}

}  // namespace vms::runner
