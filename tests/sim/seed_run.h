#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "tests/sim/checkers.h"

namespace vms::sim {

/// How to run one seed; what is not given is drawn from it.
struct SeedOptions {
  std::uint64_t seed = 1;
  std::optional<std::size_t> hosts;
  std::optional<std::size_t> vms;
  std::optional<std::set<std::string>> faults;
  std::string mutation;  ///< The defect that was chosen; for messages.
  std::uint64_t max_steps = 4'000'000;
  /// Prints the story, or everything.
  bool trace = false;
  bool details = false;
};

struct SeedResult {
  std::uint64_t seed = 0;
  std::size_t hosts = 0;
  std::size_t vms = 0;
  std::optional<Violation> violation;
  std::uint64_t runs = 0;
  std::uint64_t starts = 0;
  std::uint64_t crashes = 0;
  std::map<std::string, std::uint64_t> faults;
  std::set<std::string> enabled;
  std::set<std::string> edges;  ///< Of allEdges(): transitions and error classes that it met.
  std::uint64_t events = 0;
  double virtual_s = 0;
  std::uint64_t hash = 0;
};

SeedResult runSeed(const SeedOptions& options);

/// The command that runs the same again.
std::string replayCommand(const SeedOptions& options);

/// Runs a failing seed again with fewer faults, VMs and hosts, as long as the same checker fails,
/// and returns the smallest. Each try is a child process.
SeedOptions shrinkSeed(const SeedOptions& options, const SeedResult& failed);

}  // namespace vms::sim
