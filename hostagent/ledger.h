#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "hostagent/claim_journal.h"
#include "hostagent/hypervisor.h"
#include "schema/base/clock.h"
#include "schema/base/error.h"
#include "schema/ids.h"

namespace vms::hostagent {

enum class PhaseStamp { Claimed, BuildStarted, Built, Running, Ended };
inline constexpr std::size_t kPhaseStamps = 5;

/// One attempt in the agent's memory.
struct Attempt {
  explicit Attempt(ClaimRecord record_in) : record(std::move(record_in)) {}

  /// What has been decided. Nobody outside may learn of it before it is durable.
  ClaimRecord record;
  /// What the journal holds for sure, without the XML: the only source of what is sent (S13).
  std::optional<ClaimRecord> durable;
  /// The stamps of the record on the interval clock: ages are measured, not computed from calendar
  /// time (S25).
  std::optional<TimePoint> stamps[kPhaseStamps];

  std::string waiting_for;  ///< Why it does not get on, for people; empty: it does.
  bool busy = false;        ///< A flow or a command works on this VM: one at a time.
  bool touched = false;     ///< The hypervisor may have been asked to create it.
  bool in_lane = false;     ///< Holds a slot of the create lane.
  bool resuming = false;    ///< Past the last check before the guest executes: too late to cancel.
  bool paused = false;      ///< As last seen in the hypervisor.
  bool attention = false;   ///< The hypervisor said something while it was busy.
  std::optional<StopReason> stopped;  ///< ... namely that it stopped.
  std::optional<TimePoint> sent_at;   ///< When its result was last sent in this session.
  std::uint64_t version = 0;          ///< Of `record`; grows with every `changed()`.
  std::uint64_t durable_version = 0;

  bool open() const { return record.phase != ClaimPhase::Gone; }
  const AttemptRef& ref() const { return record.claim.ref; }
};

/// The agent's memory of attempts, epoch floors and marks, and its one way to the journal.
///
/// Decisions are made on `record`, at once and in order; `flush()` makes everything decided so far
/// durable in one commit. Owned by the agent, one executor. References to attempts stay valid until
/// the attempt is dropped, and no attempt is dropped while it is open or busy.
class Ledger {
 public:
  Ledger(ClaimJournal& journal, Clock& clock) : journal_(journal), clock_(clock) {}

  /// Blocking, once, before anything else.
  Result<void> load();

  Attempt* find(AttemptId id);
  const Attempt* find(AttemptId id) const;
  /// The attempt of `vm` that is not Gone; null if there is none.
  Attempt* openOf(VmId vm);
  /// Highest epoch of `vm` that was claimed or spent here; 0 if none.
  Epoch floorOf(VmId vm) const;
  const JournalMarks& marks() const { return marks_; }
  const std::map<AttemptId, Attempt>& attempts() const { return attempts_; }
  std::vector<AttemptId> ids() const;
  bool hasOpen() const;

  /// Adds a claim and raises the floor of its VM. Precondition: the attempt is unknown.
  Attempt& add(ClaimRecord record);
  /// Takes back what `add` did, except for the floor: its commit failed.
  void forget(AttemptId id);
  /// Marks an epoch as spent.
  void spend(VmId vm, Epoch epoch);
  /// Call after every change of `attempt.record` that should become durable.
  void changed(Attempt& attempt);
  void stamp(Attempt& attempt, PhaseStamp stamp);
  void setMarks(JournalMarks marks);

  /// Drops what the engine can no longer ask about (S24): attempts that are Gone and acknowledged
  /// at or below the watermark go with their floors; beyond `kAcknowledgedMax` of them the oldest
  /// go and leave their floors.
  void prune(std::uint64_t watermark);
  static constexpr std::size_t kAcknowledgedMax = 10'000;

  /// Everything decided before the call is durable once this succeeds, also what earlier calls that
  /// still wait were about. StoreFull: nothing of this call is; it is tried again by the next call.
  asio::awaitable<Result<void>> flush();
  /// As above, tried until it succeeds: for what cannot be taken back.
  asio::awaitable<void> persist();

  bool dirty() const { return !dirty_attempts_.empty() || !dirty_floors_.empty() || marks_dirty_; }

 private:
  struct Snapshot;
  Snapshot takeSnapshot();
  /// What is dirty now, in one commit; StoreFull leaves it dirty.
  asio::awaitable<Result<void>> commitOnce();

  ClaimJournal& journal_;
  Clock& clock_;
  std::map<AttemptId, Attempt> attempts_;
  std::map<VmId, std::set<AttemptId>> by_vm_;
  std::map<VmId, Epoch> floors_;
  JournalMarks marks_;
  std::set<AttemptId> dirty_attempts_;
  std::set<VmId> dirty_floors_;
  bool marks_dirty_ = false;
  std::size_t commits_waiting_ = 0;
  std::uint64_t failed_commits_ = 0;
};

}  // namespace vms::hostagent
