#include "runner/sqlite_pruner.h"

#include <cstdint>
#include <limits>
#include <vector>

#include "schema/base/sqlite_rows.h"

namespace vms::runner {
namespace {

constexpr WallTime kBeforeAll{std::numeric_limits<std::int64_t>::min()};

}  // namespace

HistoryPruner::HistoryPruner(SQLite::Database& connection)
    : old_attempts_(connection,
                    "SELECT id, run, requested_at, "
                    "state IN ('dropped', 'refused', 'failed', 'ended') AND "
                    "coalesce(ended_at, requested_at) < ?1 "
                    "FROM attempts INDEXED BY attempts_by_time "
                    "WHERE (requested_at, id) > (?2, ?3) AND requested_at < ?1 "
                    "ORDER BY requested_at, id LIMIT ?4"),
      delete_attempt_(connection, "DELETE FROM attempts WHERE id = ?"),
      delete_run_(connection,
                  "DELETE FROM runs WHERE id = ?1 AND "
                  "state IN ('succeeded', 'failed', 'cancelled') AND "
                  "coalesce(finished_at, requested_at) < ?2 AND NOT EXISTS (SELECT 1 FROM "
                  "requests WHERE requests.id = runs.request AND requests.finished_at IS NULL) AND "
                  "NOT EXISTS (SELECT 1 FROM attempts WHERE attempts.id = runs.attempt AND "
                  "attempts.state NOT IN ('dropped', 'refused', 'failed', 'ended'))"),
      old_request_(connection,
                   "SELECT id FROM requests WHERE finished_at < ? ORDER BY finished_at LIMIT 1"),
      items_(connection, "SELECT position, run FROM request_items WHERE request = ? LIMIT ?"),
      delete_item_(connection, "DELETE FROM request_items WHERE request = ? AND position = ?"),
      delete_request_(connection, "DELETE FROM requests WHERE id = ?"),
      seen_until_(kBeforeAll) {}

std::size_t HistoryPruner::slice(WallTime older_than) {
  more_ = false;
  const std::size_t attempts = pruneAttempts(older_than);
  return attempts + pruneRequests(older_than);
}

std::size_t HistoryPruner::pruneAttempts(WallTime older_than) {
  struct Old {
    Uuid id, run;
    WallTime requested_at;
    bool over = false;
  };
  std::vector<Old> found;
  Binder binder(old_attempts_);
  binder << older_than << seen_until_ << seen_id_ << kSlice;
  while (binder.step()) {
    Old& old = found.emplace_back();
    RowReader(old_attempts_) >> old.id >> old.run >> old.requested_at >> old.over;
  }
  std::size_t removed = 0;
  for (const Old& old : found) {
    if (!old.over) continue;
    Binder deletion(delete_attempt_);
    deletion << old.id;
    removed += static_cast<std::size_t>(deletion.run());
    removed += pruneRun(old.run, older_than);
  }
  if (found.size() == kSlice) {
    seen_until_ = found.back().requested_at;
    seen_id_ = found.back().id;
    more_ = true;
  } else {
    seen_until_ = kBeforeAll;
    seen_id_ = Uuid();
  }
  return removed;
}

std::size_t HistoryPruner::pruneRequests(WallTime older_than) {
  struct Item {
    std::uint32_t position = 0;
    Uuid run;
  };
  std::size_t removed = 0;
  for (int budget = kSlice; budget > 0;) {
    Uuid request;
    Binder oldest(old_request_);
    oldest << older_than;
    if (!oldest.step()) return removed;
    RowReader(old_request_) >> request;
    old_request_.reset();

    std::vector<Item> items;
    Binder binder(items_);
    binder << request << budget;
    while (binder.step()) {
      Item& item = items.emplace_back();
      RowReader(items_) >> item.position >> item.run;
    }
    for (const Item& item : items) {
      Binder deletion(delete_item_);
      deletion << request << item.position;
      removed += static_cast<std::size_t>(deletion.run());
      removed += pruneRun(item.run, older_than);
    }
    const bool all = items.size() < static_cast<std::size_t>(budget);
    budget -= static_cast<int>(items.size()) + 1;
    if (!all) break;
    Binder deletion(delete_request_);
    deletion << request;
    removed += static_cast<std::size_t>(deletion.run());
  }
  more_ = true;
  return removed;
}

std::size_t HistoryPruner::pruneRun(const Uuid& run, WallTime older_than) {
  Binder deletion(delete_run_);
  deletion << run << older_than;
  return static_cast<std::size_t>(deletion.run());
}

}  // namespace vms::runner
