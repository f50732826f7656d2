#include "tests/sim/sim_store.h"

#include <algorithm>
#include <charconv>

#include "schema/base/check.h"
#include "schema/base/uuid.h"

namespace vms::sim {

using runner::AttemptRecord;
using runner::Change;
using runner::HistoryPage;
using runner::HistoryQuery;
using runner::HistoryStats;
using runner::Marks;
using runner::Snapshot;

namespace {

struct Upsert {
  StoreContents& to;
  void operator()(const runner::VmRecord& row) { to.vms[row.spec.id] = row; }
  void operator()(const runner::VmEpochRecord& row) { to.vms.at(row.vm).epoch = row.epoch; }
  void operator()(const runner::RequestRecord& row) { to.requests[row.id] = row; }
  void operator()(const runner::ItemRecord& row) { to.items[{row.request, row.position}] = row; }
  void operator()(const runner::RunRecord& row) { to.runs[row.id] = row; }
  void operator()(const AttemptRecord& row) { to.attempts[row.ref.attempt] = row; }
  void operator()(const runner::HostRecord& row) { to.hosts[row.id] = row; }
  void operator()(const runner::TokenRecord& row) { to.tokens[row.id] = row; }
};

Error storeFull() {
  return Error{ErrorClass::StoreFull, "engine database: the disk is full; free some space on it"};
}

}  // namespace

void StoreContents::setRestored(bool restored) {
  marks.restored = restored;
  if (!restored) return;
  for (auto& [id, host] : hosts) host.confirmed = false;
}

StoreDisk::StoreDisk(World& world) : world_(world), rng_(world.rng().fork()) {
  contents_.marks.store_id = StoreId{makeUuidV7(kWorldStart, rng_)};
}

void StoreDisk::setLatency(Duration low, Duration high) {
  low_ = low;
  high_ = high;
}

void StoreDisk::setStalled(bool stalled) {
  stalled_ = stalled;
  if (!stalled && overdue_) finish();
}

void StoreDisk::restore(StoreContents copy, bool marked) {
  VMS_CHECK(!pending_, "an engine uses the database");
  contents_ = std::move(copy);
  contents_.setRestored(marked);
}

void StoreDisk::beforeCommit(Observer observer) { before_.push_back(std::move(observer)); }

void StoreDisk::afterCommit(Observer observer) { after_.push_back(std::move(observer)); }

void StoreDisk::begin(Pending pending) {
  VMS_CHECK(!pending_, "one commit at a time");
  pending.number = ++next_number_;
  const std::uint64_t number = pending.number;
  pending_ = std::move(pending);
  world_.in(rng_.between(low_, high_), [this, number]() {
    if (pending_ && pending_->number == number) finish();
  });
}

void StoreDisk::beginTerm() {
  Marks& marks = contents_.marks;
  marks.start = StartId{makeUuidV7(kWorldStart, starts_)};
  contents_.terms[marks.term] = {marks.commit, marks.start};
}

void StoreDisk::finish() {
  overdue_ = stalled_;
  if (!stalled_) settle(room_ != Room::None);
}

void StoreDisk::settle(bool applied) {
  Pending pending = std::move(*pending_);
  pending_.reset();
  if (applied) {
    ++contents_.marks.commit.value;
    world_.trace().mix(contents_.marks.commit.value);
    for (const auto& observer : before_) observer(pending.changes);
    for (const Change& change : pending.changes) std::visit(Upsert{contents_}, change);
    if (pending.apply) pending.apply();
    for (const auto& observer : after_) observer(pending.changes);
  }
  pending.answer(applied);
}

void StoreDisk::crashed() {
  overdue_ = false;
  if (!pending_) return;
  const bool durable = room_ != Room::None && rng_.chance(0.5);
  settle(durable);
}

void StoreDisk::watch(Process& process) {
  if (std::find(watched_.begin(), watched_.end(), &process) != watched_.end()) return;
  watched_.push_back(&process);
  process.onCrash([this]() { crashed(); });
}

SimStore::SimStore(StoreDisk& disk, Process& process) : disk_(disk), process_(process) {
  disk_.watch(process);
}

Result<Snapshot> SimStore::load() {
  StoreContents& from = disk_.contents_;
  ++from.marks.term.value;
  disk_.beginTerm();
  Snapshot snapshot;
  snapshot.marks = from.marks;
  snapshot.terms = from.terms;
  for (const auto& [id, row] : from.vms) snapshot.vms.push_back(row);
  for (const auto& [id, row] : from.requests) snapshot.requests.push_back(row);
  for (const auto& [id, row] : from.items) snapshot.items.push_back(row);
  for (const auto& [id, row] : from.runs) snapshot.runs.push_back(row);
  for (const auto& [id, row] : from.attempts) snapshot.attempts.push_back(row);
  for (const auto& [id, row] : from.hosts) snapshot.hosts.push_back(row);
  for (const auto& [id, row] : from.tokens) snapshot.tokens.push_back(row);
  return snapshot;
}

template <class T>
asio::awaitable<Result<T>> SimStore::transact(std::vector<Change> changes,
                                              std::function<void()> apply,
                                              std::function<T()> value) {
  const auto answer = std::make_shared<Answer<Result<T>>>(process_.executor());
  StoreDisk::Pending pending;
  pending.changes = std::move(changes);
  pending.apply = std::move(apply);
  pending.answer = [weak = std::weak_ptr<Answer<Result<T>>>(answer), value](bool applied) {
    const auto waiting = weak.lock();
    if (!waiting) return;
    if (!applied) {
      waiting->give(storeFull());
    } else {
      waiting->give(Result<T>(value()));
    }
  };
  disk_.begin(std::move(pending));
  Result<T> result = co_await Answer<Result<T>>::wait(answer);
  co_return result;
}

asio::awaitable<Result<CommitNumber>> SimStore::commit(std::vector<Change> changes) {
  return transact<CommitNumber>(std::move(changes), nullptr,
                                [this]() { return disk_.contents_.marks.commit; });
}

asio::awaitable<Result<void>> SimStore::setRestored(bool restored) {
  std::function<void()> apply = [this, restored]() { disk_.contents_.setRestored(restored); };
  std::function<bool()> value = []() { return true; };
  std::vector<Change> none;
  Result<bool> done = co_await transact<bool>(std::move(none), std::move(apply), std::move(value));
  if (!done) co_return done.error();
  co_return Result<void>();
}

asio::awaitable<Result<Marks>> SimStore::raiseMarks(Term seen_term, CommitNumber seen_commit) {
  std::function<void()> apply = [this, seen_term, seen_commit]() {
    Marks& marks = disk_.contents_.marks;
    const bool begins = marks.term <= seen_term;
    if (begins) marks.term.value = seen_term.value + 1;
    marks.commit = std::max(marks.commit, CommitNumber{seen_commit.value + 1});
    if (begins) disk_.beginTerm();
  };
  std::function<Marks()> value = [this]() { return disk_.contents_.marks; };
  return transact<Marks>({}, std::move(apply), std::move(value));
}

bool SimStore::hasRoom() const { return disk_.room_ == StoreDisk::Room::Plenty; }

std::vector<AttemptRecord> SimStore::matching(const HistoryQuery& query) const {
  std::vector<AttemptRecord> found;
  for (const auto& [id, row] : disk_.contents_.attempts) {
    if (query.host && row.host != *query.host) continue;
    if (query.vm && row.ref.vm != *query.vm) continue;
    if (query.vm_name && row.vm_name != *query.vm_name) continue;
    if (query.request && row.request != *query.request) continue;
    if (query.since && row.requested_at < *query.since) continue;
    if (query.until && row.requested_at >= *query.until) continue;
    if (query.reason && row.reason != *query.reason) continue;
    if (query.outcome && runner::outcomeOf(row) != *query.outcome) continue;
    found.push_back(row);
  }
  std::sort(found.begin(), found.end(), [](const AttemptRecord& a, const AttemptRecord& b) {
    return std::pair(a.requested_at, a.ref.attempt) > std::pair(b.requested_at, b.ref.attempt);
  });
  return found;
}

asio::awaitable<Result<HistoryPage>> SimStore::history(HistoryQuery query) {
  co_await process_.clock().sleepFor(milliseconds(1));
  std::size_t skip = 0;
  const std::string& cursor = query.cursor;
  std::from_chars(cursor.data(), cursor.data() + cursor.size(), skip);
  std::vector<AttemptRecord> found = matching(query);
  HistoryPage page;
  for (std::size_t i = skip; i < found.size() && page.attempts.size() < query.limit; ++i) {
    page.attempts.push_back(std::move(found[i]));
  }
  const std::size_t end = skip + page.attempts.size();
  if (end < found.size()) page.next_cursor = std::to_string(end);
  co_return page;
}

asio::awaitable<Result<HistoryStats>> SimStore::historyStats(HistoryQuery query) {
  co_await process_.clock().sleepFor(milliseconds(1));
  HistoryStats stats;
  for (const AttemptRecord& row : matching(query)) {
    const std::string_view outcome = runner::outcomeOf(row);
    ++stats.count;
    stats.succeeded += outcome == "succeeded" ? 1U : 0U;
    stats.failed += outcome == "failed" ? 1U : 0U;
    stats.cancelled += outcome == "cancelled" ? 1U : 0U;
  }
  co_return stats;
}

}  // namespace vms::sim
