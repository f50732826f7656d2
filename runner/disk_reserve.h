#pragma once

#include <cstdint>
#include <filesystem>

namespace vms::runner {

/// Disk space kept for results: a preallocated file beside the database that is given up when the
/// disk is full, so that what is under way can still be recorded (S13). Of one thread at a time.
class DiskReserve {
 public:
  /// 0 bytes: no reserve; there is always room.
  DiskReserve(std::filesystem::path path, std::uint64_t bytes);

  /// Gives the space back to the file system. False: there was nothing to give.
  bool release();
  /// Makes the file again if the disk has room for it and for as much again; whether the reserve
  /// is there and as much again is free.
  bool restore();

 private:
  bool make() const;

  std::filesystem::path path_;
  std::uint64_t bytes_;
  bool present_ = false;
};

}  // namespace vms::runner
