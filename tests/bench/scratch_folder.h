#pragma once

#include <filesystem>

#include "schema/base/error.h"

namespace vms::bench {

/// A folder for the files of one benchmark. Removed with everything in it unless it was given.
class ScratchFolder {
 public:
  /// `keep`: this folder, which must be empty or missing, and stays; empty: a temporary one.
  static Result<ScratchFolder> make(const std::filesystem::path& keep);
  ScratchFolder(ScratchFolder&& other) noexcept;
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder();

  const std::filesystem::path& path() const { return path_; }

 private:
  ScratchFolder(std::filesystem::path path, bool keep) : path_(std::move(path)), keep_(keep) {}

  std::filesystem::path path_;
  bool keep_ = false;
};

}  // namespace vms::bench
