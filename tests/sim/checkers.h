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
  HostId name;                      ///< That its certificate proves.
  const bool* elsewhere = nullptr;  ///< Its agent works with another hypervisor (S4).
};

/// What a host has told the engine in its present session.
struct HostReport {
  SessionNumber session = 0;
  std::map<std::string, proto::Domain> foreign;  ///< Domains outside our control, by VM and name.
  bool ready = false;
  bool was_ready = false;  ///< At any time since the last commit.
};

/// Compares what the engine and the agents say and store with what is true, at every event.
///
/// Checks sit where the events are: a domain changes, a frame leaves, a transaction becomes
/// durable. The first violation stops the world.
class Checkers {
 public:
  Checkers(World& world, StoreDisk& store);

  void watch(SimHost& host, JournalDisk& journal, HostId name, const bool& elsewhere);
  void watch(Network& network);

  /// A client was told that its request is accepted (S13).
  void requestAccepted(RequestId request, std::size_t vms);

  /// The engine's database was replaced by an older copy: attempts that it does not know any more
  /// are outside its control, and their VMs may wait for a person (S8).
  void storeRestored(const StoreContents& before);

  /// A host's journal was wiped: its agent knows only what its domains carry.
  void journalLost(const HostId& host);

  /// Somebody asks for these VMs to be stopped; that ends runs that others wait for.
  void stopOrdered(const std::vector<std::string>& vms);

  /// Told of every bulk create that leaves, after it was checked.
  void onBulkCreate(std::function<void(const HostId&)> observer);

  void fail(const std::string& checker, const std::string& message);
  const std::optional<Violation>& violation() const { return violation_; }

  /// What keeps the cluster from being settled: nothing if every run has its outcome or waits for
  /// what cannot come, history agrees with the world, and nothing is left over.
  std::vector<std::string> unsettled() const;

  /// Hosts that a person may confirm: what was moved away from them runs nowhere any more.
  std::set<HostId> hostsWithLostMoves() const;

  std::uint64_t starts() const { return starts_; }

  /// Transitions that became durable and error classes that rows or clients got, as allEdges()
  /// writes them.
  const std::set<std::string>& edges() const { return edges_; }
  void errorSeen(ErrorClass error_class);

 private:
  // domain_checks.cc
  void domainChanged(const SimHost& host, DomainChange change, const SimDomain& domain);
  void domainResumed(const SimHost& host, const SimDomain& domain);
  void domainAppeared(const SimHost& host, const SimDomain& domain);
  void domainGone(const SimHost& host, const SimDomain& domain);
  void createCalled(const WatchedHost& host, const AttemptRef& ref);
  void resumeCalled(const WatchedHost& host, const AttemptRef& ref);

  // wire_checks.cc
  void frameSent(const WireEvent& event);
  void engineFrame(const WatchedHost& host, const proto::Frame& frame);
  void agentFrame(const WatchedHost& host, const proto::Frame& frame);
  void bulkCreateSent(const WatchedHost& host, const proto::BulkCreate& bulk);
  void commandSent(const WatchedHost& host, const proto::Command& command);
  void acknowledged(const proto::Acknowledge& acknowledge);
  void outcomeSent(const WatchedHost& host, const proto::Outcome& outcome);
  void epochSaidSpent(const WatchedHost& host, const AttemptRef& ref, const std::string& saying);

  bool hadStarted(const WatchedHost& host, const AttemptRef& ref) const;

  // session_checks.cc
  void heardIn(SessionNumber session, std::string what);
  bool wasSaidIn(SessionNumber session, const std::string& what) const;
  void engineSpeaks(const proto::Frame& frame);
  void agentSpeaks(const WatchedHost& host, const proto::Frame& frame);
  void welcomed(const WatchedHost& host);

  // claim_checks.cc
  void journaled(const WatchedHost& host, const std::vector<hostagent::JournalChange>& changes);
  void claimJournaled(const WatchedHost& host, const hostagent::ClaimRecord& claim);

  // placement_checks.cc
  void frameDelivered(const WireEvent& event);
  void attemptPlaced(const runner::AttemptRecord& next, const std::vector<runner::Change>& changes);
  /// Once `changes` are durable.
  bool isForgotten(const HostId& id, const std::vector<runner::Change>& changes) const;
  void backoffNoted(const runner::RunRecord& next);

  // store_checks.cc
  void beforeCommit(const std::vector<runner::Change>& changes);
  void afterCommit(const std::vector<runner::Change>& changes);
  void epochChanges(VmId vm, Epoch next);
  void attemptChanges(const runner::AttemptRecord& next);
  void tellAttempt(const runner::AttemptRecord& next);
  void attemptEnds(const runner::AttemptRecord& next);
  void runChanges(const runner::RunRecord& next);
  void runCancelled(const runner::RunRecord& next);
  void runSucceeds(const runner::RunRecord& next);
  void capacityHolds(const HostId& host);

  // settle_checks.cc
  void unsettledRuns(std::vector<std::string>& open) const;
  void unsettledAttempts(std::vector<std::string>& open) const;
  void unsettledDomains(std::vector<std::string>& open) const;
  bool heldForGoodReason(const runner::RunRecord& run) const;

  const runner::AttemptRecord* attempt(AttemptId id) const;
  const WatchedHost* findHost(const HostId& id) const;
  /// An operator moved it away while its agent was down, and the host kept no record of that: to
  /// everybody it has ended, nobody knows how (S20).
  bool leftUnseen(const Claim& claim) const;
  std::string describe(const AttemptRef& ref) const;

  World& world_;
  StoreDisk& store_;
  std::map<HostId, WatchedHost> hosts_;
  std::set<AttemptId> resumed_;                      ///< Their domain has executed.
  std::set<AttemptId> forgotten_;                    ///< By a restored database.
  std::set<AttemptId> moved_;                        ///< By an operator, from host to host.
  std::set<AttemptId> launched_;                     ///< Their domain was complete.
  std::map<VmId, std::set<AttemptId>> attempts_of_;  ///< Durable ones.
  std::set<AttemptId> stop_done_;                    ///< Agents said that they see to it.
  std::map<AttemptId, std::uint64_t> ended_commit_;  ///< The commit that stored its end.
  std::set<std::string> stop_ordered_;               ///< Names of VMs.
  /// By session: what was asked or told in it, so that an answer to another one shows.
  std::map<SessionNumber, std::set<std::string>> said_;
  std::uint64_t watermark_ = 0;                  ///< The highest that the engine has announced.
  std::map<HostId, proto::StoreMarks> hellos_;   ///< What its agent has met, by its last hello.
  std::uint64_t met_term_ = 0, met_commit_ = 0;  ///< By agents, as the engine has been told.
  std::map<std::uint64_t, std::set<std::string>> met_starts_;  ///< By term; as above.
  /// By host: epochs that its journal has held, and attempts whose claims it has held.
  std::map<HostId, std::map<VmId, Epoch>> floors_;
  std::map<HostId, std::set<AttemptId>> claimed_;
  std::map<HostId, hostagent::JournalMarks> marks_;
  /// What hosts have told by now, and what they had told when the last commit became durable: the
  /// engine decides on something in between.
  std::map<HostId, HostReport> reports_, reports_before_;
  std::map<RunId, TimePoint> not_before_;  ///< Back-offs, as early as they can end.
  TimePoint last_commit_{};
  std::function<void(const HostId&)> bulk_create_observer_;
  std::optional<Violation> violation_;
  std::uint64_t starts_ = 0;
  std::set<std::string> edges_;
};

/// Every transition of both tables, "attempt sent > unknown", and every error class, "class busy".
std::vector<std::string> allEdges();

}  // namespace vms::sim
