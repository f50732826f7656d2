#include "runner/event_feed.h"

#include <algorithm>
#include <utility>

namespace vms::runner {
namespace {

bool isLeaving(const VmEvent& row) { return row.state == "undefined"; }
bool isLeaving(const RequestView& row) { return row.state != "active"; }

template <class... Cases>
struct Match : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Match(Cases...) -> Match<Cases...>;

}  // namespace

void EventFeed::restart(std::uint64_t generation) {
  generation_ = generation;
  commit_ = 0;
  floor_ = newest_;
  complete_ = false;
  vms_.clear();
  requests_.clear();
  hosts_.clear();
  order_.clear();
  leaving_.clear();
  commits_.clear();
  shared_.clear();
}

template <class Id, class Row>
void EventFeed::put(Table<Id, Row>& table, const Id& id, Row row, bool leaving) {
  auto [at, added] = table.try_emplace(id);
  Entry<Row>& entry = at->second;
  if (!added) {
    order_.erase(entry.change);
    leaving_.erase(entry.change);
  }
  entry.change = ++newest_;
  entry.leaving = leaving;
  entry.row = std::move(row);
  order_.emplace(entry.change, id);
  if (leaving) leaving_.emplace(entry.change, id);
}

void EventFeed::erase(const Key& key) {
  std::visit(Match{[](std::monostate) {}, [this](const HostId& id) { hosts_.erase(id); },
                   [this](const RequestId& id) { requests_.erase(id); },
                   [this](const VmId& id) { vms_.erase(id); }},
             key);
}

void EventFeed::boundLeaving() {
  while (leaving_.size() > limits_.leaving) {
    const auto oldest = leaving_.begin();
    floor_ = std::max(floor_, oldest->first);
    order_.erase(oldest->first);
    erase(oldest->second);
    leaving_.erase(oldest);
  }
}

void EventFeed::apply(EventBatch batch, std::uint64_t commit) {
  const std::uint64_t before = newest_;
  for (HostEvent& row : batch.hosts) {
    const HostId id = row.host;
    put(hosts_, id, std::move(row), false);
  }
  for (VmEvent& row : batch.vms) {
    const VmId id = row.vm;
    const bool leaving = isLeaving(row);
    const auto known = vms_.find(id);
    if (known == vms_.end() ? leaving : known->second.row == row) continue;
    put(vms_, id, std::move(row), leaving);
  }
  for (RequestView& row : batch.requests) {
    const RequestId id = row.request.id;
    const bool leaving = isLeaving(row);
    put(requests_, id, std::move(row), leaving);
  }
  boundLeaving();
  commit_ = commit;
  complete_ = complete_ || batch.complete;
  if (!complete_ || (newest_ == before && !commits_.empty())) return;
  commits_.emplace_back(commit, before);
  if (commits_.size() > limits_.commits) commits_.pop_front();
  shared_.clear();
}

std::optional<std::uint64_t> EventFeed::changeBefore(std::uint64_t commit) const {
  if (commits_.empty() || commit < commits_.front().first || commit > commit_) return std::nullopt;
  // A commit may have been told in several batches: all of them count as not seen.
  const auto at = std::lower_bound(commits_.begin(), commits_.end(), commit,
                                   [](const auto& one, auto value) { return one.first < value; });
  return at == commits_.end() ? newest_ : at->second;
}

EventCursor EventFeed::open(EventKinds kinds, std::optional<EventId> last) const {
  EventCursor cursor;
  cursor.kinds = kinds;
  const auto seen =
      last && last->generation == generation_ ? changeBefore(last->commit) : std::nullopt;
  beginSnapshot(cursor, last.has_value());
  if (!seen || *seen < floor_) return cursor;
  cursor.in_snapshot = cursor.reset = false;
  cursor.seen = *seen;
  return cursor;
}

void EventFeed::beginSnapshot(EventCursor& cursor, bool reset) const {
  cursor.generation = generation_;
  cursor.in_snapshot = true;
  cursor.reset = reset;
  cursor.seen = newest_;
  cursor.commit = commit_;
  cursor.last = std::monostate();
}

std::shared_ptr<const EventPiece> EventFeed::next(EventCursor& cursor) {
  if (!complete_) return nullptr;
  // A cursor from before everything was told has seen nothing of it.
  const bool begun = cursor.last.index() != 0;
  if (cursor.in_snapshot && !begun && cursor.generation == generation_) {
    beginSnapshot(cursor, cursor.reset);
  }
  if (cursor.generation != generation_ || cursor.seen < floor_) {
    beginSnapshot(cursor, cursor.reset || !cursor.in_snapshot || begun);
  }
  return cursor.in_snapshot ? snapshot(cursor) : delta(cursor);
}

template <class Id, class Row>
bool EventFeed::page(const Table<Id, Row>& table, EventCursor& cursor, std::vector<Row>& out,
                     std::size_t& room) const {
  const Id* last = std::get_if<Id>(&cursor.last);
  auto at = last == nullptr ? table.begin() : table.upper_bound(*last);
  for (; at != table.end(); ++at) {
    if (at->second.leaving) continue;
    if (room == 0) return false;
    --room;
    out.push_back(at->second.row);
    cursor.last = at->first;
  }
  return true;
}

std::shared_ptr<const EventPiece> EventFeed::snapshot(EventCursor& cursor) const {
  auto piece = std::make_shared<EventPiece>();
  piece->snapshot = true;
  piece->reset = std::exchange(cursor.reset, false);
  // Rows that change meanwhile come again as changes.
  piece->id.generation = generation_;
  piece->id.commit = cursor.commit;
  std::size_t room = limits_.piece_rows;
  bool done = true;
  if (cursor.kinds.hosts && cursor.last.index() <= 1) {
    done = page(hosts_, cursor, piece->hosts, room);
  }
  if (done && cursor.kinds.requests && cursor.last.index() <= 2) {
    done = page(requests_, cursor, piece->requests, room);
  }
  if (done && cursor.kinds.vms) done = page(vms_, cursor, piece->vms, room);
  piece->complete = done;
  cursor.in_snapshot = !done;
  return piece;
}

std::shared_ptr<const EventPiece> EventFeed::delta(EventCursor& cursor) {
  if (cursor.seen >= newest_) return nullptr;
  for (const Shared& one : shared_) {
    if (one.kinds != cursor.kinds || one.from != cursor.seen) continue;
    cursor.seen = one.to;
    return one.piece;
  }
  auto piece = std::make_shared<EventPiece>();
  piece->id.generation = generation_;
  piece->id.commit = commit_;
  Shared shared;
  shared.kinds = cursor.kinds;
  shared.from = cursor.seen;
  std::size_t room = limits_.piece_rows;
  auto at = order_.upper_bound(cursor.seen);
  for (; at != order_.end() && room > 0; ++at) {
    const bool taken = std::visit(Match{[](std::monostate) { return false; },
                                        [&](const HostId& id) {
                                          if (cursor.kinds.hosts)
                                            piece->hosts.push_back(hosts_.at(id).row);
                                          return cursor.kinds.hosts;
                                        },
                                        [&](const RequestId& id) {
                                          if (cursor.kinds.requests)
                                            piece->requests.push_back(requests_.at(id).row);
                                          return cursor.kinds.requests;
                                        },
                                        [&](const VmId& id) {
                                          if (cursor.kinds.vms)
                                            piece->vms.push_back(vms_.at(id).row);
                                          return cursor.kinds.vms;
                                        }},
                                  at->second);
    if (taken) --room;
    cursor.seen = at->first;
  }
  piece->complete = at == order_.end();
  if (piece->complete) cursor.seen = newest_;
  if (room == limits_.piece_rows) return nullptr;  // Changes, but none of these kinds.
  shared.to = cursor.seen;
  shared.piece = piece;
  if (shared_.size() < 64) shared_.push_back(std::move(shared));
  return piece;
}

}  // namespace vms::runner
