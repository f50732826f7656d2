#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "tests/sim/seed_run.h"

namespace vms::sim {

struct SweepResult {
  std::uint64_t seeds = 0;
  std::uint64_t failed = 0;
  std::optional<std::uint64_t> first_failed_seed;
  std::uint64_t runs = 0, starts = 0, crashes = 0, events = 0;
  std::map<std::string, std::uint64_t> faults;
  std::map<std::string, std::uint64_t> edges;  ///< How many seeds met it; absent: none.
  double virtual_s = 0;
};

struct SweepOptions {
  SeedOptions seed;  ///< For each; its `seed` is replaced.
  std::uint64_t first = 1, last = 1;
  unsigned jobs = 1;
  bool shrink = true;
  bool print_hash = false;
  bool first_only = false;  ///< Each job ends with its first failing seed.
  /// Called now and then with what has come of it so far.
  std::function<void(const SweepResult&)> on_progress;
};

/// Runs every seed in a child process, so that one that dies is a failed seed and no more; reports
/// failures on stdout as they come.
SweepResult runSweep(const SweepOptions& options);

}  // namespace vms::sim
