#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/client.h"
#include "tests/sim/sim_cluster.h"

namespace vms::sim {

/// Everything bad that a seed may bring, by name.
const std::vector<std::string>& faultNames();

/// Draws what goes wrong and when, and brings it about.
///
/// Each kind draws from a generator that its name gives it, so that leaving one out, or adding a
/// new one to the code, changes nothing of the others' schedule: that is what makes a failing seed
/// shrink and last.
class FaultPlan {
 public:
  /// `only`: the kinds that may strike at all; empty: all of them.
  FaultPlan(SimCluster& cluster, Client& client, Rng rng, Duration window,
            const std::optional<std::set<std::string>>& only);

  /// Kinds that strike in this seed.
  const std::set<std::string>& enabled() const { return enabled_; }
  const std::map<std::string, std::uint64_t>& counts() const { return counts_; }

  /// Schedules all of it. Call once, before the world runs.
  void schedule();
  /// After every event: crashes that were due after so many more events.
  void afterStep();
  /// Ends every fault: everything works again from now on.
  void heal();

 private:
  void planCrashes(Rng rng);
  void planAgentCrashes(Rng rng);
  void planStops(const std::string& kind, Rng rng);
  void planLinks(const std::string& kind, Rng rng);
  void planPower(Rng rng);
  void planHypervisor(const std::string& kind, Rng rng);
  void planDaemons(const std::string& kind, Rng rng);
  void planGuests(const std::string& kind, Rng rng);
  void planDisks(const std::string& kind, Rng rng);
  void planClocks(Rng rng);
  // odd_faults.cc: identities and time going back
  void planJoins(Rng rng);
  void planClones(Rng rng);
  void planSwaps(Rng rng);
  void planLostJournals(Rng rng);
  void planRestore(Rng rng);
  void planScraps(Rng rng);
  void planMigrations(Rng rng);
  void planSuspensions(Rng rng);
  void restore(const StoreContents& copy, Duration down, Duration operator_after);
  /// A person puts right what only a person can.
  void operatorComes();

  /// Calls `strike` so many times, drawn times within the window; it gets a random host.
  void strikes(const std::string& kind, Rng& rng, std::uint64_t most,
               const std::function<void(Node&, Rng&)>& strike);
  Rng generatorOf(const std::string& name) const;
  Node& anyNode(Rng& rng);
  void count(const std::string& kind);
  /// Only while the faults have not been healed.
  void later(Duration delay, std::function<void()> effect);

  SimCluster& cluster_;
  Client& client_;
  const std::uint64_t seed_;
  const Duration window_;
  std::set<std::string> enabled_;
  std::map<std::string, std::uint64_t> counts_;
  std::vector<std::pair<std::uint64_t, std::function<void()>>> armed_;  ///< By step number.
  bool healed_ = false;
};

}  // namespace vms::sim
