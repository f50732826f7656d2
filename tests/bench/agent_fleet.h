#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "schema/base/error.h"
#include "schema/base/time.h"
#include "tests/bench/wire_tap.h"

namespace vms::bench {

struct FleetSettings {
  std::size_t hosts = 1;
  std::size_t vms = 0;     ///< Their memory holds all of them, and each host its share twice.
  Duration build{};        ///< Of every domain.
  std::size_t width = 32;  ///< Builds at once on each host.
  std::uint64_t seed = 1;
};

/// What one VM needs.
inline constexpr std::uint64_t kVmMemory = std::uint64_t{512} << 20U;

/// Production agents with journals on disk, connected by TLS, on simulated hypervisors. They share
/// one thread of this process; every journal writes on one of its own.
class AgentFleet {
 public:
  /// Issues the hosts' certificates in `pki` and starts them against the engine at `engine`.
  /// `tap` outlives the fleet.
  static Result<std::unique_ptr<AgentFleet>> start(const FleetSettings& settings,
                                                   const std::filesystem::path& folder,
                                                   const std::filesystem::path& pki,
                                                   const std::string& engine, WireTap& tap);
  ~AgentFleet();
  AgentFleet(const AgentFleet&) = delete;
  AgentFleet& operator=(const AgentFleet&) = delete;

  /// Agents that have a session and take work.
  std::size_t ready() const;
  /// Transactions of all journals so far, each with its sync.
  std::uint64_t journalCommits() const;

 private:
  struct Impl;
  explicit AgentFleet(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vms::bench
