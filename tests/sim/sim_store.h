#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runner/store.h"
#include "tests/sim/sim_signal.h"
#include "tests/sim/sim_world.h"

namespace vms::sim {

/// The rows of an engine's database, as they are on its disk.
struct StoreContents {
  runner::Marks marks;
  runner::TermStarts terms;
  std::map<VmId, runner::VmRecord> vms;
  std::map<RequestId, runner::RequestRecord> requests;
  std::map<std::pair<RequestId, std::uint32_t>, runner::ItemRecord> items;
  std::map<RunId, runner::RunRecord> runs;
  std::map<AttemptId, runner::AttemptRecord> attempts;
  std::map<HostId, runner::HostRecord> hosts;
  std::map<std::string, runner::TokenRecord> tokens;

  void setRestored(bool restored);
};

/// The engine's disk: survives its crashes. Its contents are durable by definition.
class StoreDisk {
 public:
  enum class Room { Plenty, ReserveOnly, None };

  explicit StoreDisk(World& world);

  const StoreContents& contents() const { return contents_; }
  std::uint64_t commits() const { return contents_.marks.commit.value; }

  void setLatency(Duration low, Duration high);
  /// ReserveOnly: commits succeed, new work must be refused. None: commits are rolled back.
  void setRoom(Room room) { room_ = room; }
  void setStalled(bool stalled);
  /// Yesterday's copy comes back, known to be one or not (S8). Precondition: no engine runs.
  void restore(StoreContents copy, bool marked);

  using Observer = std::function<void(const std::vector<runner::Change>&)>;
  /// Sees a transaction just before its rows replace the old ones in contents(), or just after.
  void beforeCommit(Observer observer);
  void afterCommit(Observer observer);

 private:
  friend class SimStore;

  struct Pending {
    std::uint64_t number = 0;
    std::vector<runner::Change> changes;
    std::function<void()> apply;  ///< Beside the changes.
    std::function<void(bool applied)> answer;
  };

  /// The term in `contents_` is new.
  void beginTerm();
  void begin(Pending pending);
  void finish();
  void settle(bool applied);
  void crashed();
  void watch(Process& process);

  World& world_;
  Rng rng_;
  Rng starts_{1};  ///< For start ids alone: a copy that is restored does not take it back.
  StoreContents contents_;
  std::optional<Pending> pending_;
  std::uint64_t next_number_ = 0;
  Duration low_ = std::chrono::microseconds(200), high_ = milliseconds(4);
  Room room_ = Room::Plenty;
  bool stalled_ = false;
  bool overdue_ = false;
  std::vector<const Process*> watched_;
  std::vector<Observer> before_, after_;
};

/// An engine incarnation's view of its disk. Of a commit that is under way at a crash it is drawn
/// whether it became durable.
class SimStore final : public runner::Store {
 public:
  SimStore(StoreDisk& disk, Process& process);

  Result<runner::Snapshot> load() override;
  asio::awaitable<Result<CommitNumber>> commit(std::vector<runner::Change> changes) override;
  asio::awaitable<Result<void>> setRestored(bool restored) override;
  asio::awaitable<Result<runner::Marks>> raiseMarks(Term seen_term,
                                                    CommitNumber seen_commit) override;
  bool hasRoom() const override;
  asio::awaitable<Result<runner::HistoryPage>> history(runner::HistoryQuery query) override;
  asio::awaitable<Result<runner::HistoryStats>> historyStats(runner::HistoryQuery query) override;

 private:
  template <class T>
  asio::awaitable<Result<T>> transact(std::vector<runner::Change> changes,
                                      std::function<void()> apply, std::function<T()> value);
  std::vector<runner::AttemptRecord> matching(const runner::HistoryQuery& query) const;

  StoreDisk& disk_;
  Process& process_;
};

}  // namespace vms::sim
