#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

#include "runner/distribution.h"
#include "runner/store.h"
#include "schema/base/clock.h"

namespace vms::runner {

struct SqliteStoreOptions {
  std::filesystem::path path;  ///< Its folder exists and also holds marks.json and reserve.bin.
  bool restored = false;    ///< An operator says that this database was put back (S8): every host
                            ///< needs to be confirmed again.
  Duration commit_delay{};  ///< Slept after each commit, as a slower disk would: for benchmarks.
  std::uint64_t reserve_bytes = std::uint64_t{16} << 20U;  ///< 0: no reserve.
  Duration retention = std::chrono::hours(24 * 400);       ///< Older history is pruned.
  int log_pages = 8192;                    ///< The log is moved into the file at this size.
  std::optional<std::uint32_t> max_pages;  ///< The database is full at this size: for tests.
};

/// What a store did since it was opened, and how it is now.
struct StoreFigures {
  std::uint64_t commits = 0, rows = 0;
  std::uint64_t commits_refused = 0;  ///< The disk was full even with the reserve.
  std::uint64_t rows_pruned = 0;
  Distribution commit_seconds{kSecondsBounds};
  bool has_room = true;
  std::uint64_t database_bytes = 0, wal_bytes = 0;
};

/// The engine's store in one SQLite file.
///
/// Two threads of its own: one writes, one answers queries. What the writer does besides committing
/// (pruning in small slices, looking after the reserve) comes after a commit was answered, and
/// commits that wait go first. The log is moved into the file by the query thread between two
/// queries, because a query holds on to the log that it began with: so no load of queries can make
/// the log grow for ever. Destroying waits for what is under way; no coroutine may still wait then.
class SqliteStore final : public Store {
 public:
  /// Opens, or creates, the database under a new, durable term. Blocking. `clock` outlives the
  /// store and is also read on the store's threads. Busy: another process has it open. Invalid: the
  /// file is not ours, damaged or of a newer release; it was not changed. StoreFull: no room for
  /// the term.
  static Result<std::unique_ptr<SqliteStore>> open(const SqliteStoreOptions& options,
                                                   const Clock& clock);
  ~SqliteStore() override;

  Result<Snapshot> load() override;
  asio::awaitable<Result<CommitNumber>> commit(std::vector<Change> changes) override;
  asio::awaitable<Result<void>> setRestored(bool restored) override;
  asio::awaitable<Result<Marks>> raiseMarks(Term seen_term, CommitNumber seen_commit) override;
  bool hasRoom() const override;
  asio::awaitable<Result<HistoryPage>> history(HistoryQuery query) override;
  asio::awaitable<Result<HistoryStats>> historyStats(HistoryQuery query) override;

  /// What was counted since it was opened. From any thread.
  StoreFigures figures() const;

  /// Removes one slice of history that ended before `older_than`; the rows that it removed. Open
  /// attempts and unfinished requests stay, whatever their age. The store calls it by itself.
  asio::awaitable<Result<std::size_t>> prune(WallTime older_than);

 private:
  struct Impl;
  explicit SqliteStore(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace vms::runner
