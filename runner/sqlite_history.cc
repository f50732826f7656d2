#include "runner/sqlite_history.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runner/history_cursor.h"
#include "runner/sqlite_records.h"
#include "schema/base/sqlite_db.h"
#include "schema/base/sqlite_rows.h"

namespace vms::runner {
namespace {

/// Steps of SQLite's machine between two looks at the clock.
constexpr int kStepsBetweenLooks = 10'000;

/// A query whose values are bound, never written into the text.
struct Selection {
  std::string from;   ///< The table, with the index whose order is the order of the answer.
  std::string where;  ///< Conditions; empty: all.
  std::vector<Uuid> ids;
  std::vector<std::string> texts;
  std::vector<std::int64_t> numbers;
  std::string order;  ///< Which of the three each parameter is: 'i', 't' or 'n'.

  void add(const std::string& condition) {
    where += where.empty() ? " WHERE " : " AND ";
    where += condition;
  }
  void id(const Uuid& value) {
    ids.push_back(value);
    order += 'i';
  }
  void text(const std::string& value) {
    texts.push_back(value);
    order += 't';
  }
  void number(std::int64_t value) {
    numbers.push_back(value);
    order += 'n';
  }
  void bind(Binder& binder) const {
    std::size_t next_id = 0, next_text = 0, next_number = 0;
    for (const char kind : order) {
      if (kind == 'i') binder << ids[next_id++];
      if (kind == 't') binder << texts[next_text++];
      if (kind == 'n') binder << numbers[next_number++];
    }
  }
};

/// The ids that a VM of this name has had.
std::vector<Uuid> vmsNamed(SQLite::Database& connection, const std::string& name) {
  SQLite::Statement statement(connection, "SELECT vm FROM vm_names WHERE name = ?");
  Binder binder(statement);
  binder << name;
  std::vector<Uuid> vms;
  while (binder.step()) {
    RowReader(statement) >> vms.emplace_back();
  }
  return vms;
}

/// Chosen by us, because SQLite keeps no statistics of the table: the most selective filter first.
/// Every index ends with time and id, so no order needs sorting.
std::string indexFor(const HistoryQuery& query, bool by_vm) {
  if (query.request) return "attempts_by_request";
  if (by_vm) return "attempts_by_vm";
  if (query.outcome == "failed" || query.outcome == "cancelled") return "attempts_by_outcome";
  if (query.reason && *query.reason != RunReason::User) return "attempts_by_reason";
  if (query.host) return "attempts_by_host";
  return "attempts_by_time";
}

Selection select(SQLite::Database& connection, const HistoryQuery& query,
                 const std::optional<HistoryCursor>& cursor) {
  Selection selection;
  bool one_vm = query.vm.has_value();
  if (query.request) {
    selection.add("request = ?");
    selection.id(query.request->uuid);
  }
  if (query.vm) {
    selection.add("vm = ?");
    selection.id(query.vm->uuid);
  }
  if (query.vm_name) {
    if (!query.request && !query.vm) {
      const std::vector<Uuid> vms = vmsNamed(connection, *query.vm_name);
      one_vm = vms.size() == 1;
      std::string list;
      for (const Uuid& vm : vms) {
        list += list.empty() ? "?" : ", ?";
        selection.id(vm);
      }
      selection.add("vm IN (" + list + ")");
    }
    selection.add("vm_name = ?");
    selection.text(*query.vm_name);
  }
  if (query.host) {
    selection.add("host = ?");
    selection.text(*query.host);
  }
  // Written out, not bound, and with the condition of the partial index: only so does SQLite see
  // that the index applies.
  if (query.outcome) {
    selection.add("outcome = '" + *query.outcome + "'");
    if (*query.outcome != "succeeded") selection.add("outcome IN ('failed', 'cancelled')");
  }
  if (query.reason) {
    selection.add("reason = '" + std::string(nameOf(*query.reason)) + "'");
    if (*query.reason != RunReason::User) selection.add("reason IN ('ha', 'rerun')");
  }
  if (query.since) {
    selection.add("requested_at >= ?");
    selection.number(query.since->unix_ms);
  }
  // One upper bound only, the lower one, so that SQLite seeks to it.
  if (cursor && (!query.until || cursor->requested_at < *query.until)) {
    selection.add("(requested_at, id) < (?, ?)");
    selection.number(cursor->requested_at.unix_ms);
    selection.id(cursor->attempt.uuid);
  } else if (query.until) {
    selection.add("requested_at < ?");
    selection.number(query.until->unix_ms);
  }
  selection.from = " FROM attempts INDEXED BY " + indexFor(query, one_vm);
  if (query.vm_name && !query.request && !one_vm) selection.from = " FROM attempts";
  return selection;
}

Result<void> checkOutcome(const HistoryQuery& query) {
  if (!query.outcome || *query.outcome == "succeeded" || *query.outcome == "failed" ||
      *query.outcome == "cancelled") {
    return {};
  }
  return Error(ErrorClass::Invalid,
               "outcome '" + *query.outcome + "' is unknown; use succeeded, failed or cancelled");
}

/// The phases of an attempt's life, by the columns that begin and end them.
struct Phase {
  const char* name;
  const char* from;
  const char* to;
};
constexpr std::array kPhases = {
    Phase{"queue", "requested_at", "placed_at"},    Phase{"send", "placed_at", "sent_at"},
    Phase{"accept", "sent_at", "accepted_at"},      Phase{"stage", "accepted_at", "staged_at"},
    Phase{"build", "build_started_at", "built_at"}, Phase{"launch", "built_at", "running_at"},
    Phase{"total", "requested_at", "running_at"},
};

using Samples = std::vector<std::uint32_t>;

/// By nearest rank; `samples` is not empty and is reordered.
double percentile(Samples& samples, std::size_t percent) {
  const std::size_t rank = (samples.size() * percent + 99) / 100;
  const auto at = samples.begin() + static_cast<std::ptrdiff_t>(rank - 1);
  std::nth_element(samples.begin(), at, samples.end());
  return static_cast<double>(*at);
}

}  // namespace

HistoryReader::HistoryReader(std::unique_ptr<SQLite::Database> connection,
                             std::filesystem::path path, const Clock& clock, HistoryLimits limits)
    : connection_(std::move(connection)), path_(std::move(path)), clock_(clock), limits_(limits) {
  sqlite3_progress_handler(connection_->getHandle(), kStepsBetweenLooks, &shouldStop, this);
}

int HistoryReader::shouldStop(void* self) {
  const auto& reader = *static_cast<const HistoryReader*>(self);
  return reader.stopped_ || reader.clock_.now() > reader.deadline_ ? 1 : 0;
}

template <class T, class Function>
Result<T> HistoryReader::bounded(Function function) {
  if (stopped_) return Error(ErrorClass::Unavailable, "the store is being closed");
  deadline_ = clock_.now() + limits_.time;
  try {
    return function();
  } catch (const SQLite::Exception& exception) {
    return withContext(errorOf(exception, *connection_, path_), "history");
  }
}

Result<HistoryPage> HistoryReader::page(const HistoryQuery& query) {
  if (query.limit < 1 || query.limit > limits_.page) {
    return Error(ErrorClass::Invalid, "limit " + std::to_string(query.limit) +
                                          " is out of range; use 1 to " +
                                          std::to_string(limits_.page));
  }
  if (auto known = checkOutcome(query); !known) return known.error();
  std::optional<HistoryCursor> cursor;
  if (!query.cursor.empty()) {
    cursor = decodeCursor(query.cursor);
    if (!cursor) {
      return Error(ErrorClass::Invalid,
                   "the cursor is none of ours; pass next_cursor of the page before unchanged, or "
                   "none for the first page");
    }
  }
  return bounded<HistoryPage>([&]() -> Result<HistoryPage> {
    const Selection selection = select(*connection_, query, cursor);
    SQLite::Statement statement(*connection_, "SELECT " + selectList(kAttemptTable) +
                                                  selection.from + selection.where +
                                                  " ORDER BY requested_at DESC, id DESC LIMIT ?");
    Binder binder(statement);
    selection.bind(binder);
    binder << query.limit + 1;
    HistoryPage page;
    while (binder.step()) {
      if (page.attempts.size() == query.limit) {
        const AttemptRecord& last = page.attempts.back();
        page.next_cursor = encodeCursor({last.requested_at, last.ref.attempt});
        break;
      }
      page.attempts.push_back(readAttempt(statement));
    }
    return page;
  });
}

Result<HistoryStats> HistoryReader::stats(const HistoryQuery& query) {
  if (auto known = checkOutcome(query); !known) return known.error();
  return bounded<HistoryStats>([&]() -> Result<HistoryStats> {
    const Selection selection = select(*connection_, query, std::nullopt);
    std::string columns = "outcome";
    for (const Phase& phase : kPhases) {
      columns.append(", ").append(phase.to).append(" - ").append(phase.from);
    }
    SQLite::Statement statement(
        *connection_, "SELECT " + columns + selection.from + selection.where + " LIMIT ?");
    Binder binder(statement);
    selection.bind(binder);
    binder << limits_.stats + 1;

    HistoryStats stats;
    std::array<Samples, kPhases.size()> samples;
    std::string outcome;
    while (binder.step()) {
      if (++stats.count > limits_.stats) {
        return Error(ErrorClass::TooLarge, "more than " + std::to_string(limits_.stats) +
                                               " attempts are selected; ask for a smaller range "
                                               "of time, or for one host");
      }
      RowReader reader(statement);
      reader >> outcome;
      if (outcome == "succeeded") ++stats.succeeded;
      if (outcome == "failed") ++stats.failed;
      if (outcome == "cancelled") ++stats.cancelled;
      for (Samples& of_phase : samples) {
        std::optional<std::int64_t> ms;
        reader >> ms;
        if (!ms) continue;
        // Wall clocks may jump: what would be negative counts as no time at all.
        const auto bounded_ms = std::clamp<std::int64_t>(*ms, 0, UINT32_MAX);
        of_phase.push_back(static_cast<std::uint32_t>(bounded_ms));
      }
    }
    for (std::size_t i = 0; i < kPhases.size(); ++i) {
      PhaseStats phase;
      phase.phase = kPhases[i].name;
      phase.count = samples[i].size();
      if (!samples[i].empty()) {
        phase.p50_ms = percentile(samples[i], 50);
        phase.p95_ms = percentile(samples[i], 95);
        phase.p99_ms = percentile(samples[i], 99);
      }
      stats.phases.push_back(std::move(phase));
    }
    return stats;
  });
}

}  // namespace vms::runner
