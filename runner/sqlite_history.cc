#include "runner/sqlite_history.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "runner/history_cursor.h"
#include "runner/history_selection.h"
#include "runner/sqlite_records.h"
#include "schema/base/sqlite_db.h"
#include "schema/base/sqlite_rows.h"

namespace vms::runner {
namespace {

/// Steps of SQLite's machine between two looks at the clock.
constexpr int kStepsBetweenLooks = 10'000;

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

/// The queries whose results together are those of `query`: an index finds VMs by id alone, and
/// several may have had one name.
std::vector<HistoryQuery> byVm(SQLite::Database& connection, const HistoryQuery& query) {
  if (!query.vm_name || query.vm || query.request) return {query};
  std::vector<HistoryQuery> parts;
  for (const Uuid& vm : vmsNamed(connection, *query.vm_name)) {
    parts.push_back(query);
    parts.back().vm = VmId{vm};
  }
  return parts;
}

bool newer(const AttemptRecord& a, const AttemptRecord& b) {
  return std::tie(a.requested_at, a.ref.attempt) > std::tie(b.requested_at, b.ref.attempt);
}

/// The newest `count` of `query` in `newest`, with those that are there already.
void addNewest(SQLite::Database& connection, HistoryQuery query,
               const std::optional<HistoryCursor>& cursor, std::size_t count,
               std::vector<AttemptRecord>& newest) {
  // What is older than all of a full page is not read.
  if (newest.size() == count && (!query.since || *query.since < newest.back().requested_at)) {
    query.since = newest.back().requested_at;
  }
  const HistorySelection selection(query, cursor);
  SQLite::Statement statement(connection, selection.pageSql(selectList(kAttemptTable)));
  Binder binder(statement);
  selection.bind(binder);
  binder << count;
  const auto before = static_cast<std::ptrdiff_t>(newest.size());
  while (binder.step()) newest.push_back(readAttempt(statement));
  std::inplace_merge(newest.begin(), newest.begin() + before, newest.end(), newer);
  if (newest.size() > count) newest.resize(count);
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

/// Counts what `query` selects; false: it would be more than `most` altogether.
bool addSamples(SQLite::Database& connection, const HistoryQuery& query, std::size_t most,
                HistoryStats& stats, std::array<Samples, kPhases.size()>& samples) {
  const HistorySelection selection(query, std::nullopt);
  std::string columns = "outcome";
  for (const Phase& phase : kPhases) {
    columns.append(", ").append(phase.to).append(" - ").append(phase.from);
  }
  SQLite::Statement statement(connection, selection.countSql(columns));
  Binder binder(statement);
  selection.bind(binder);
  binder << most + 1;
  std::string outcome;
  while (binder.step()) {
    if (++stats.count > most) return false;
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
  return true;
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
  const std::uint32_t fingerprint = fingerprintOf(query);
  std::optional<HistoryCursor> cursor;
  if (!query.cursor.empty()) {
    cursor = decodeCursor(query.cursor);
    if (!cursor) {
      return Error(ErrorClass::Invalid,
                   "the cursor is none of ours; pass next_cursor of the page before unchanged, or "
                   "none for the first page");
    }
    if (cursor->query != fingerprint) {
      return Error(ErrorClass::Invalid,
                   "the cursor is of a query with other filters; repeat the filters of the page "
                   "before, or pass no cursor for the first page");
    }
  }
  return bounded<HistoryPage>([&]() -> Result<HistoryPage> {
    HistoryPage page;
    for (const HistoryQuery& part : byVm(*connection_, query)) {
      addNewest(*connection_, part, cursor, query.limit + 1, page.attempts);
    }
    if (page.attempts.size() > query.limit) {
      page.attempts.pop_back();
      const AttemptRecord& last = page.attempts.back();
      page.next_cursor = encodeCursor({last.requested_at, last.ref.attempt, fingerprint});
    }
    return page;
  });
}

Result<HistoryStats> HistoryReader::stats(const HistoryQuery& query) {
  if (auto known = checkOutcome(query); !known) return known.error();
  return bounded<HistoryStats>([&]() -> Result<HistoryStats> {
    HistoryStats stats;
    std::array<Samples, kPhases.size()> samples;
    for (const HistoryQuery& part : byVm(*connection_, query)) {
      if (!addSamples(*connection_, part, limits_.stats, stats, samples)) {
        return Error(ErrorClass::TooLarge, "more than " + std::to_string(limits_.stats) +
                                               " attempts are selected; ask for a smaller range "
                                               "of time, or for one host");
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
