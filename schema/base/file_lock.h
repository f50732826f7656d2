#pragma once

#include <filesystem>
#include <string>

#include "schema/base/error.h"
#include "schema/base/unique_fd.h"

namespace vms {

/// An exclusive lock on a file of its own, released when this ends, however the process ends.
/// Children do not inherit it. The file stays: removing it would let two owners lock two files.
class FileLock {
 public:
  /// `what` names the guarded thing in messages. Busy, naming the owner's process id if it is
  /// known: another owner, in this process or another one, holds it. Creates the file when it is
  /// missing.
  static Result<FileLock> acquire(const std::filesystem::path& path, const std::string& what);

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

}  // namespace vms
