#pragma once

#include <cstdint>

namespace vms::runner {

/// This process, as its kernel sees it. What cannot be read is 0.
struct ProcessFigures {
  double cpu_seconds = 0;
  double start_time = 0;  ///< Seconds since 1970.
  std::uint64_t resident_bytes = 0, virtual_bytes = 0;
  std::uint64_t open_fds = 0, max_fds = 0;
  std::uint64_t threads = 0;
};

/// From any thread; reads a few files of /proc.
ProcessFigures readProcessFigures();

}  // namespace vms::runner
