#pragma once

#include <string>
#include <vector>

#include "tests/sim/client.h"

namespace vms::sim {

/// What the people outside want in one seed: definitions, bulk and single starts, repeats of them
/// with the same key and with another body, cancels, stops, drains and looks, within a window.
class Workload {
 public:
  /// `vms`: how many to define.
  Workload(SimCluster& cluster, Client& client, Rng rng, std::size_t vms, Duration window);

  /// Schedules all of it. Call once, before the world runs.
  void schedule();

 private:
  std::vector<std::string> someNames(Rng& rng, std::size_t most) const;
  void planStart(Rng& rng);
  void planStop(Rng& rng);
  void at(Duration when, std::function<void()> act);
  Duration anyTime(Rng& rng) const;

  SimCluster& cluster_;
  Client& client_;
  Rng rng_;
  const Duration window_;
  std::vector<VmDraft> vms_;
  std::uint64_t next_key_ = 1;
};

}  // namespace vms::sim
