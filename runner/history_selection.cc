#include "runner/history_selection.h"

#include <cstddef>

#include "schema/run_state.h"

namespace vms::runner {
namespace {

bool isRare(const std::optional<std::string>& outcome) {
  return outcome == "failed" || outcome == "cancelled";
}
bool isRare(const std::optional<RunReason>& reason) { return reason && *reason != RunReason::User; }

/// Chosen by us, because SQLite keeps no statistics of the table: the most selective filter first.
/// Every index ends with time and id, so no order needs sorting.
const char* indexFor(const HistoryQuery& query) {
  if (query.request) return "attempts_by_request";
  if (query.vm) return "attempts_by_vm";
  if (isRare(query.outcome)) {
    return query.host ? "attempts_by_host_outcome" : "attempts_by_outcome";
  }
  if (isRare(query.reason)) return query.host ? "attempts_by_host_reason" : "attempts_by_reason";
  if (query.host) return "attempts_by_host";
  return "attempts_by_time";
}

}  // namespace

HistorySelection::HistorySelection(const HistoryQuery& query,
                                   const std::optional<HistoryCursor>& cursor)
    : from_(std::string(" FROM attempts INDEXED BY ") + indexFor(query)) {
  if (query.request) id("request = ?", query.request->uuid);
  if (query.vm) id("vm = ?", query.vm->uuid);
  if (query.vm_name) text("vm_name = ?", *query.vm_name);
  if (query.host) text("host = ?", *query.host);
  // Written out, not bound, and with the condition of the partial index: only so does SQLite see
  // that the index applies.
  if (query.outcome) {
    add("outcome = '" + *query.outcome + "'");
    if (isRare(query.outcome)) add("outcome IN ('failed', 'cancelled')");
  }
  if (query.reason) {
    add("reason = '" + std::string(nameOf(*query.reason)) + "'");
    if (isRare(query.reason)) add("reason IN ('ha', 'rerun')");
  }
  if (query.since) number("requested_at >= ?", query.since->unix_ms);
  // One upper bound only, the lower one, so that SQLite seeks to it.
  if (cursor && (!query.until || cursor->requested_at < *query.until)) {
    number("(requested_at, id) < (?, ?)", cursor->requested_at.unix_ms);
    ids_.push_back(cursor->attempt.uuid);
    order_ += 'i';
  } else if (query.until) {
    number("requested_at < ?", query.until->unix_ms);
  }
}

std::string HistorySelection::pageSql(const std::string& columns) const {
  return "SELECT " + columns + from_ + where_ + " ORDER BY requested_at DESC, id DESC LIMIT ?";
}

std::string HistorySelection::countSql(const std::string& columns) const {
  return "SELECT " + columns + from_ + where_ + " LIMIT ?";
}

void HistorySelection::bind(Binder& binder) const {
  std::size_t next_id = 0, next_text = 0, next_number = 0;
  for (const char kind : order_) {
    if (kind == 'i') binder << ids_[next_id++];
    if (kind == 't') binder << texts_[next_text++];
    if (kind == 'n') binder << numbers_[next_number++];
  }
}

void HistorySelection::add(const std::string& condition) {
  where_ += where_.empty() ? " WHERE " : " AND ";
  where_ += condition;
}

void HistorySelection::id(const std::string& condition, const Uuid& value) {
  add(condition);
  ids_.push_back(value);
  order_ += 'i';
}

void HistorySelection::text(const std::string& condition, const std::string& value) {
  add(condition);
  texts_.push_back(value);
  order_ += 't';
}

void HistorySelection::number(const std::string& condition, std::int64_t value) {
  add(condition);
  numbers_.push_back(value);
  order_ += 'n';
}

}  // namespace vms::runner
