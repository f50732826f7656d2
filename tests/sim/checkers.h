#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "schema/proto/agent.pb.h"
#include "tests/sim/sim_host.h"
#include "tests/sim/sim_journal.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/sim_store.h"

namespace vms::sim {

/// The first rule that was broken.
struct Violation {
  std::string checker;
  std::string message;
  TimePoint at{};
};

/// A host as the checkers know it: what really is, and what its agent has made durable.
struct WatchedHost {
  const SimHost* host = nullptr;
  const JournalDisk* journal = nullptr;
};

/// Compares what the engine and the agents say and store with what is true, at every event.
///
/// Checks sit where the events are: a domain changes, a frame leaves, a transaction becomes
/// durable. The first violation stops the world.
class Checkers {
 public:
  Checkers(World& world, StoreDisk& store);

  void watch(SimHost& host, JournalDisk& journal);
  void watch(Network& network);

  /// A client was told that its request is accepted (S13).
  void requestAccepted(RequestId request, std::size_t vms);

  /// The engine's database was replaced by an older copy: attempts that it does not know any more
  /// are outside its control, and their VMs may wait for a person (S8).
  void storeRestored(const StoreContents& before);

  /// Told of every bulk create that leaves, after it was checked.
  void onBulkCreate(std::function<void(const HostId&)> observer);

  void fail(const std::string& checker, const std::string& message);
  const std::optional<Violation>& violation() const { return violation_; }

  /// What keeps the cluster from being settled: nothing if every run has its outcome or waits for
  /// what cannot come, history agrees with the world, and nothing is left over.
  std::vector<std::string> unsettled() const;

  std::uint64_t starts() const { return starts_; }

 private:
  // domain_checks.cc
  void domainChanged(const SimHost& host, DomainChange change, const SimDomain& domain);
  void domainResumed(const SimHost& host, const SimDomain& domain);
  void domainAppeared(const SimHost& host, const SimDomain& domain);

  // wire_checks.cc
  void frameSent(const WireEvent& event);
  void engineFrame(const WatchedHost& host, const proto::Frame& frame);
  void agentFrame(const WatchedHost& host, const proto::Frame& frame);
  void bulkCreateSent(const WatchedHost& host, const proto::BulkCreate& bulk);
  void commandSent(const WatchedHost& host, const proto::Command& command);
  void acknowledged(const proto::Acknowledge& acknowledge);
  void outcomeSent(const WatchedHost& host, const proto::Outcome& outcome);
  void epochSaidSpent(const WatchedHost& host, const AttemptRef& ref, const std::string& saying);

  // store_checks.cc
  void beforeCommit(const std::vector<runner::Change>& changes);
  void afterCommit(const std::vector<runner::Change>& changes);
  void attemptChanges(const runner::AttemptRecord& next);
  void tellAttempt(const runner::AttemptRecord& next);
  void attemptEnds(const runner::AttemptRecord& next);
  void runChanges(const runner::RunRecord& next);
  void runSucceeds(const runner::RunRecord& next);
  void capacityHolds(const HostId& host);

  // settle_checks.cc
  void unsettledRuns(std::vector<std::string>& open) const;
  void unsettledAttempts(std::vector<std::string>& open) const;
  void unsettledDomains(std::vector<std::string>& open) const;
  bool heldForGoodReason(const runner::RunRecord& run) const;

  const runner::AttemptRecord* attempt(AttemptId id) const;
  const WatchedHost* findHost(const HostId& id) const;
  std::string describe(const AttemptRef& ref) const;

  World& world_;
  StoreDisk& store_;
  std::map<HostId, WatchedHost> hosts_;
  std::set<AttemptId> resumed_;                      ///< Their domain has executed.
  std::set<AttemptId> forgotten_;                    ///< By a restored database.
  std::set<AttemptId> launched_;                     ///< Their domain was complete.
  std::map<VmId, std::set<AttemptId>> attempts_of_;  ///< Durable ones.
  std::function<void(const HostId&)> bulk_create_observer_;
  std::optional<Violation> violation_;
  std::uint64_t starts_ = 0;
};

}  // namespace vms::sim
