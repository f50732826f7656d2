#include "hostagent/ledger.h"

#include <algorithm>
#include <utility>

#include "schema/base/check.h"
#include "schema/base/log.h"

namespace vms::hostagent {
namespace {

constexpr Duration kFullStorePause = seconds(1);

std::optional<WallTime>& wallOf(ClaimRecord& record, PhaseStamp stamp) {
  switch (stamp) {
    case PhaseStamp::Claimed:
      return record.claimed_at;
    case PhaseStamp::BuildStarted:
      return record.build_started_at;
    case PhaseStamp::Built:
      return record.built_at;
    case PhaseStamp::Running:
      return record.running_at;
    case PhaseStamp::Ended:
      break;
  }
  return record.ended_at;
}

}  // namespace

struct Ledger::Snapshot {
  struct Image {
    AttemptId id;
    std::uint64_t version = 0;
    ClaimRecord record;  // Without the XML.
  };
  std::vector<JournalChange> changes;
  std::vector<Image> images;
  std::set<AttemptId> attempts;
  std::set<VmId> floors;
  bool marks = false;
};

Result<void> Ledger::load() {
  Result<JournalContents> loaded = journal_.load();
  if (!loaded) return loaded.error();
  JournalContents& contents = *loaded;
  const WallTime wall = clock_.wallNow();
  const TimePoint now = clock_.now();
  for (ClaimRecord& record : contents.claims) {
    const AttemptId id = record.claim.ref.attempt;
    by_vm_[record.claim.ref.vm].insert(id);
    Attempt& attempt = attempts_.emplace(id, Attempt(std::move(record))).first->second;
    for (std::size_t i = 0; i < kPhaseStamps; ++i) {
      const std::optional<WallTime>& at = wallOf(attempt.record, static_cast<PhaseStamp>(i));
      if (at) attempt.stamps[i] = now - std::max(Duration{}, wall - *at);
    }
    attempt.touched = attempt.record.phase != ClaimPhase::Claimed;
    attempt.durable = attempt.record;
    attempt.durable->xml.clear();
  }
  for (const EpochFloor& floor : contents.floors) {
    Epoch& known = floors_[floor.vm];
    known = std::max(known, floor.epoch);
  }
  for (const auto& [id, attempt] : attempts_) {
    Epoch& known = floors_[attempt.ref().vm];
    known = std::max(known, attempt.ref().epoch);
  }
  marks_ = std::move(contents.marks);
  return boost::system::in_place_value;
}

Attempt* Ledger::find(AttemptId id) {
  const auto found = attempts_.find(id);
  return found == attempts_.end() ? nullptr : &found->second;
}

const Attempt* Ledger::find(AttemptId id) const {
  const auto found = attempts_.find(id);
  return found == attempts_.end() ? nullptr : &found->second;
}

Attempt* Ledger::openOf(VmId vm) {
  const auto found = by_vm_.find(vm);
  if (found == by_vm_.end()) return nullptr;
  for (const AttemptId& id : found->second) {
    Attempt* const attempt = find(id);
    if (attempt->open()) return attempt;
  }
  return nullptr;
}

Epoch Ledger::floorOf(VmId vm) const {
  const auto found = floors_.find(vm);
  return found == floors_.end() ? Epoch{} : found->second;
}

std::vector<AttemptId> Ledger::ids() const {
  std::vector<AttemptId> ids;
  ids.reserve(attempts_.size());
  for (const auto& [id, attempt] : attempts_) ids.push_back(id);
  return ids;
}

bool Ledger::hasOpen() const {
  return std::any_of(attempts_.begin(), attempts_.end(),
                     [](const auto& entry) { return entry.second.open(); });
}

Attempt& Ledger::add(ClaimRecord record) {
  const AttemptRef ref = record.claim.ref;
  const auto [place, added] = attempts_.emplace(ref.attempt, Attempt(std::move(record)));
  VMS_CHECK(added, "an attempt is claimed once");
  by_vm_[ref.vm].insert(ref.attempt);
  spend(ref.vm, ref.epoch);
  changed(place->second);
  return place->second;
}

void Ledger::forget(AttemptId id) {
  const auto found = attempts_.find(id);
  VMS_CHECK(found != attempts_.end() && !found->second.busy, "only idle attempts are dropped");
  const auto vm = by_vm_.find(found->second.ref().vm);
  vm->second.erase(id);
  if (vm->second.empty()) by_vm_.erase(vm);
  const bool journaled = found->second.durable.has_value();
  attempts_.erase(found);
  if (journaled) {
    dirty_attempts_.insert(id);
  } else {
    dirty_attempts_.erase(id);
  }
}

void Ledger::spend(VmId vm, Epoch epoch) {
  Epoch& floor = floors_[vm];
  if (epoch <= floor) return;
  floor = epoch;
  dirty_floors_.insert(vm);
}

void Ledger::changed(Attempt& attempt) {
  ++attempt.version;
  dirty_attempts_.insert(attempt.ref().attempt);
}

void Ledger::stamp(Attempt& attempt, PhaseStamp stamp) {
  wallOf(attempt.record, stamp) = clock_.wallNow();
  attempt.stamps[static_cast<std::size_t>(stamp)] = clock_.now();
}

void Ledger::setMarks(JournalMarks marks) {
  if (marks == marks_) return;
  marks_ = std::move(marks);
  marks_dirty_ = true;
}

void Ledger::prune(std::uint64_t watermark) {
  std::vector<const Attempt*> settled;
  for (const auto& [id, attempt] : attempts_) {
    const ClaimRecord& record = attempt.record;
    if (record.phase != ClaimPhase::Gone || !record.end_acked || attempt.busy) continue;
    settled.push_back(&attempt);
  }
  std::sort(settled.begin(), settled.end(), [](const Attempt* a, const Attempt* b) {
    if (a->record.acked_commit != b->record.acked_commit) {
      return a->record.acked_commit < b->record.acked_commit;
    }
    return a->ref() < b->ref();
  });
  std::size_t surplus = settled.size() > kAcknowledgedMax ? settled.size() - kAcknowledgedMax : 0;
  for (const Attempt* attempt : settled) {
    const AttemptRef ref = attempt->ref();
    const bool below = attempt->record.acked_commit <= watermark;
    if (!below && surplus == 0) break;
    if (surplus > 0) --surplus;
    forget(ref.attempt);
    if (!below || by_vm_.contains(ref.vm) || floorOf(ref.vm) != ref.epoch) continue;
    floors_.erase(ref.vm);
    dirty_floors_.insert(ref.vm);
  }
}

Ledger::Snapshot Ledger::takeSnapshot() {
  Snapshot snapshot;
  snapshot.attempts.swap(dirty_attempts_);
  snapshot.floors.swap(dirty_floors_);
  snapshot.marks = std::exchange(marks_dirty_, false);
  for (const AttemptId& id : snapshot.attempts) {
    const Attempt* const attempt = find(id);
    if (attempt == nullptr) {
      snapshot.changes.emplace_back(DropClaim{id});
      continue;
    }
    Snapshot::Image image{id, attempt->version, attempt->record};
    image.record.xml.clear();
    snapshot.images.push_back(std::move(image));
    snapshot.changes.emplace_back(PutClaim{attempt->record});
  }
  for (const VmId& vm : snapshot.floors) {
    const auto floor = floors_.find(vm);
    if (floor == floors_.end()) {
      snapshot.changes.emplace_back(DropFloor{vm});
    } else {
      snapshot.changes.emplace_back(PutFloor{EpochFloor{vm, floor->second}});
    }
  }
  if (snapshot.marks) snapshot.changes.emplace_back(PutMarks{marks_});
  return snapshot;
}

asio::awaitable<Result<void>> Ledger::flush() {
  // With nothing of its own to write, a call still waits for those before it. When one of those
  // failed meanwhile, what it was about is written again: this call's success speaks for it too.
  while (dirty() || commits_waiting_ > 0) {
    const std::uint64_t failures = failed_commits_;
    Result<void> committed = co_await commitOnce();
    if (!committed || failed_commits_ == failures) co_return committed;
  }
  co_return boost::system::in_place_value;
}

asio::awaitable<Result<void>> Ledger::commitOnce() {
  Snapshot snapshot = takeSnapshot();
  std::vector<JournalChange> changes = std::move(snapshot.changes);
  ++commits_waiting_;
  Result<void> committed = co_await journal_.commit(std::move(changes));
  --commits_waiting_;
  if (!committed) {
    ++failed_commits_;
    dirty_attempts_.insert(snapshot.attempts.begin(), snapshot.attempts.end());
    dirty_floors_.insert(snapshot.floors.begin(), snapshot.floors.end());
    marks_dirty_ = marks_dirty_ || snapshot.marks;
    co_return committed;
  }
  for (Snapshot::Image& image : snapshot.images) {
    Attempt* const attempt = find(image.id);
    if (attempt == nullptr) {
      // Forgotten while the commit was under way: what was just written has to go again.
      dirty_attempts_.insert(image.id);
      continue;
    }
    if (image.version < attempt->durable_version) continue;
    attempt->durable_version = image.version;
    attempt->durable = std::move(image.record);
  }
  co_return boost::system::in_place_value;
}

asio::awaitable<void> Ledger::persist() {
  bool told = false;
  for (;;) {
    const Result<void> flushed = co_await flush();
    if (flushed) co_return;
    if (!told) {
      log::error("the journal cannot take a result: {}; trying again until it can",
                 flushed.error().message);
    }
    told = true;
    co_await clock_.sleepFor(kFullStorePause);
  }
}

}  // namespace vms::hostagent
