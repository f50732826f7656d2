#include "tests/sim/sim_journal.h"

#include <algorithm>
#include <utility>

#include "schema/base/check.h"

namespace vms::sim {

using hostagent::ClaimRecord;
using hostagent::JournalChange;
using hostagent::JournalContents;

JournalDisk::JournalDisk(World& world, std::string name)
    : world_(world), name_(std::move(name)), rng_(world.rng().fork()) {}

const ClaimRecord* JournalDisk::find(AttemptId attempt) const {
  const auto found = claims_.find(attempt);
  return found == claims_.end() ? nullptr : &found->second;
}

Epoch JournalDisk::floorOf(VmId vm) const {
  const auto found = floors_.find(vm);
  return found == floors_.end() ? Epoch{} : found->second;
}

void JournalDisk::setLatency(Duration low, Duration high) {
  low_ = low;
  high_ = high;
}

void JournalDisk::setStalled(bool stalled) {
  stalled_ = stalled;
  if (!stalled && overdue_) finish();
}

void JournalDisk::onCommit(std::function<void(const std::vector<JournalChange>&)> observer) {
  observers_.push_back(std::move(observer));
}

void JournalDisk::copyFrom(const JournalDisk& other) {
  claims_ = other.claims_;
  floors_ = other.floors_;
  marks_ = other.marks_;
}

void JournalDisk::wipe() {
  claims_.clear();
  floors_.clear();
  marks_ = {};
  ++wipes_;
}

void JournalDisk::begin() {
  if (!group_.empty() || next_.empty()) return;
  group_.swap(next_);
  const std::uint64_t transaction = ++transaction_;
  world_.in(rng_.between(low_, high_), [this, transaction]() {
    if (transaction != transaction_ || group_.empty()) return;
    finish();
  });
}

void JournalDisk::finish() {
  overdue_ = stalled_;
  if (stalled_) return;
  settle(!full_);
  begin();
}

void JournalDisk::settle(bool applied) {
  const std::vector<Waiting> group = std::exchange(group_, {});
  std::vector<JournalChange> all;
  for (const Waiting& waiting : group) {
    if (!applied) break;
    for (const JournalChange& change : waiting.changes) {
      apply(change);
      all.push_back(change);
    }
  }
  if (world_.trace().wantsDetails()) {
    std::size_t changes = 0;
    for (const Waiting& waiting : group) changes += waiting.changes.size();
    world_.detail("journal of " + name_ + ": " + std::to_string(changes) + " changes of " +
                  std::to_string(group.size()) + " calls are " +
                  (applied ? "durable" : "rolled back"));
  }
  if (applied) {
    ++commits_;
    world_.trace().mix(commits_);
    for (const auto& observer : observers_) observer(all);
  }
  for (const Waiting& waiting : group) {
    const auto answer = waiting.answer.lock();
    if (!answer) continue;
    if (applied) {
      answer->give(Result<void>());
    } else {
      answer->give(Error{ErrorClass::StoreFull,
                         "journal of " + name_ + ": the disk is full; free some space on it"});
    }
  }
}

void JournalDisk::apply(const JournalChange& change) {
  if (const auto* put = std::get_if<hostagent::PutClaim>(&change)) {
    claims_[put->record.claim.ref.attempt] = put->record;
  } else if (const auto* drop = std::get_if<hostagent::DropClaim>(&change)) {
    claims_.erase(drop->attempt);
  } else if (const auto* floor = std::get_if<hostagent::PutFloor>(&change)) {
    Epoch& epoch = floors_[floor->floor.vm];
    epoch = std::max(epoch, floor->floor.epoch);
  } else if (const auto* gone = std::get_if<hostagent::DropFloor>(&change)) {
    floors_.erase(gone->vm);
  } else if (const auto* marks = std::get_if<hostagent::PutMarks>(&change)) {
    marks_ = marks->marks;
  }
}

void JournalDisk::crashed() {
  ++transaction_;
  overdue_ = false;
  next_.clear();
  if (group_.empty()) return;
  const bool durable = !full_ && rng_.chance(0.5);
  settle(durable);
}

void JournalDisk::watch(Process& process) {
  if (std::find(watched_.begin(), watched_.end(), &process) != watched_.end()) return;
  watched_.push_back(&process);
  process.onCrash([this]() { crashed(); });
}

SimJournal::SimJournal(JournalDisk& disk, Process& process) : disk_(disk), process_(process) {
  disk_.watch(process);
}

Result<JournalContents> SimJournal::load() {
  JournalContents contents;
  for (const auto& [attempt, record] : disk_.claims_) contents.claims.push_back(record);
  for (const auto& [vm, epoch] : disk_.floors_) contents.floors.push_back({vm, epoch});
  contents.marks = disk_.marks_;
  return contents;
}

asio::awaitable<Result<void>> SimJournal::commit(std::vector<JournalChange> changes) {
  const auto answer = std::make_shared<Answer<Result<void>>>(process_.executor());
  JournalDisk::Waiting waiting{std::move(changes), answer};
  disk_.next_.push_back(std::move(waiting));
  disk_.begin();
  co_return co_await Answer<Result<void>>::wait(answer);
}

}  // namespace vms::sim
