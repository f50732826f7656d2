#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <atomic>
#include <filesystem>
#include <memory>

#include "runner/store.h"
#include "schema/base/clock.h"

namespace vms::runner {

struct HistoryLimits {
  std::size_t page = 1000;        ///< Attempts of one page.
  std::size_t stats = 2'000'000;  ///< Attempts that one answer of stats() counts.
  Duration time = seconds(10);    ///< Of one query; then it is given up as Deadline.
};

/// Queries of the history on a read connection of their own. Used by one thread at a time; stop()
/// may come from any.
class HistoryReader {
 public:
  HistoryReader(std::unique_ptr<SQLite::Database> connection, std::filesystem::path path,
                const Clock& clock, HistoryLimits limits = {});

  /// Invalid: the cursor, the limit (1 to `page`) or the outcome is none.
  Result<HistoryPage> page(const HistoryQuery& query);
  /// Of all attempts that `query` selects; limit and cursor are ignored. TooLarge: more than
  /// `limits.stats` are selected.
  Result<HistoryStats> stats(const HistoryQuery& query);

  /// Interrupts the query under way and all later ones.
  void stop() noexcept { stopped_ = true; }

 private:
  template <class T, class Function>
  Result<T> bounded(Function function);
  static int shouldStop(void* self);

  std::unique_ptr<SQLite::Database> connection_;
  std::filesystem::path path_;
  const Clock& clock_;
  HistoryLimits limits_;
  TimePoint deadline_;
  std::atomic<bool> stopped_ = false;
};

}  // namespace vms::runner
