#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <cstddef>

#include "schema/base/time.h"
#include "schema/base/uuid.h"

namespace vms::runner {

/// Removes old history in slices of bounded work. Of one thread at a time.
class HistoryPruner {
 public:
  /// `connection` outlives this.
  explicit HistoryPruner(SQLite::Database& connection);

  /// Looks at up to `kSlice` attempts and as many items of requests and removes those that ended
  /// before `older_than`, with their runs; inside a transaction of the caller. Attempts and
  /// requests that are open stay, and so do their runs. The rows removed, at most `kMostRows`.
  /// Throws what SQLite throws.
  std::size_t slice(WallTime older_than);
  /// Whether slice() has more to look at; otherwise it begins anew.
  bool more() const { return more_; }

  static constexpr int kSlice = 100;
  /// An attempt and an item each with its run; and a request for each place of an item.
  static constexpr std::size_t kMostRows = 4 * kSlice;

 private:
  std::size_t pruneAttempts(WallTime older_than);
  std::size_t pruneRequests(WallTime older_than);
  std::size_t pruneRun(const Uuid& run, WallTime older_than);

  SQLite::Statement old_attempts_, delete_attempt_, delete_run_;
  SQLite::Statement old_request_, items_, delete_item_, delete_request_;
  /// Where the last slice ended: what stays at the old end is not looked at again and again.
  WallTime seen_until_;
  Uuid seen_id_;
  bool more_ = false;
};

}  // namespace vms::runner
