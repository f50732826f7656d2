#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "hostagent/claim_journal.h"
#include "tests/sim/sim_signal.h"
#include "tests/sim/sim_world.h"

namespace vms::sim {

/// What lies on one host's disk: survives crashes and reboots, holds only what was synced.
class JournalDisk {
 public:
  JournalDisk(World& world, std::string name);

  /// Reads without a process; for checkers.
  const std::map<AttemptId, hostagent::ClaimRecord>& claims() const { return claims_; }
  const hostagent::ClaimRecord* find(AttemptId attempt) const;
  /// 0 when the VM has none.
  Epoch floorOf(VmId vm) const;
  const hostagent::JournalMarks& marks() const { return marks_; }

  /// Time from the start of a group's transaction to its fsync.
  void setLatency(Duration low, Duration high);
  /// While full, every commit is rolled back.
  void setFull(bool full) { full_ = full; }
  /// While stalled, transactions start but do not end.
  void setStalled(bool stalled);
  bool stalled() const { return stalled_; }
  /// Sees every transaction right after it became durable.
  void onCommit(std::function<void(const std::vector<hostagent::JournalChange>&)> observer);
  /// Becomes a copy of another disk, as a clone of its machine has it.
  void copyFrom(const JournalDisk& other);
  /// Someone wiped the disk.
  void wipe();
  /// How often that happened.
  std::uint64_t wipes() const { return wipes_; }

  std::uint64_t commits() const { return commits_; }

 private:
  friend class SimJournal;

  struct Waiting {
    std::vector<hostagent::JournalChange> changes;
    std::weak_ptr<Answer<Result<void>>> answer;
  };

  void begin();
  void finish();
  void settle(bool applied);
  void apply(const hostagent::JournalChange& change);
  void crashed();
  void watch(Process& process);

  World& world_;
  const std::string name_;
  Rng rng_;
  std::map<AttemptId, hostagent::ClaimRecord> claims_;
  std::map<VmId, Epoch> floors_;
  hostagent::JournalMarks marks_;
  std::vector<Waiting> group_;  ///< In the transaction that is under way.
  std::vector<Waiting> next_;   ///< Came meanwhile.
  std::uint64_t transaction_ = 0;
  std::uint64_t commits_ = 0;
  std::uint64_t wipes_ = 0;
  Duration low_ = std::chrono::microseconds(200), high_ = milliseconds(3);
  bool full_ = false;
  bool stalled_ = false;
  bool overdue_ = false;  ///< The transaction would have ended, were it not stalled.
  std::vector<const Process*> watched_;
  std::vector<std::function<void(const std::vector<hostagent::JournalChange>&)>> observers_;
};

/// An agent incarnation's view of its disk. Of a transaction that is under way at a crash it is
/// drawn whether it became durable; what waited for the next one is lost.
class SimJournal final : public hostagent::ClaimJournal {
 public:
  SimJournal(JournalDisk& disk, Process& process);

  Result<hostagent::JournalContents> load() override;
  asio::awaitable<Result<void>> commit(std::vector<hostagent::JournalChange> changes) override;

 private:
  JournalDisk& disk_;
  Process& process_;
};

}  // namespace vms::sim
