#include "runner/sqlite_store.h"

#include <SQLiteCpp/SQLiteCpp.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <semaphore>
#include <string>
#include <utility>

#include "runner/disk_reserve.h"
#include "runner/marks_copy.h"
#include "runner/sqlite_history.h"
#include "runner/sqlite_load.h"
#include "runner/sqlite_pruner.h"
#include "runner/sqlite_tables.h"
#include "runner/sqlite_writer.h"
#include "schema/base/blocking_executor.h"
#include "schema/base/check.h"
#include "schema/base/log.h"
#include "schema/base/rng.h"
#include "schema/base/sqlite_db.h"
#include "schema/base/sqlite_rows.h"
#include "schema/sql/engine_migrations.h"

namespace vms::runner {
namespace {

constexpr int kWriterCacheKib = 64 * 1024;
constexpr int kReaderCacheKib = 16 * 1024;
constexpr Duration kMarksCopyEvery = seconds(5);
constexpr Duration kPruneEvery = std::chrono::hours(1);
constexpr std::size_t kMaxQueue = 64;
constexpr std::uint64_t kTermsKept = 1'000;

Marks readMarks(SQLite::Database& connection) {
  SQLite::Statement statement(connection,
                              "SELECT store_id, term, commit_number, restored "
                              "FROM store WHERE id = 1");
  Marks marks;
  if (!statement.executeStep()) throw SQLite::Exception("it has no marks", SQLITE_CORRUPT);
  RowReader(statement) >> marks.store_id.uuid >> marks.term.value >> marks.commit.value >>
      marks.restored;
  return marks;
}

StartId newStart(WallTime now) {
  Rng rng(seedFromSystem());
  return StartId{makeUuidV7(now, rng)};
}

SqliteSettings settingsOf(const SqliteStoreOptions& options, WallTime now) {
  SqliteSettings settings;
  settings.path = options.path;
  settings.kind = kStoreKind;
  settings.application_id = kStoreApplicationId;
  settings.migrations = engineMigrations();
  settings.cache_kib = kWriterCacheKib;
  settings.commit_delay = options.commit_delay;
  settings.max_pages = options.max_pages;
  settings.seed = [now](SQLite::Database& connection) {
    Rng rng(seedFromSystem());
    const Uuid store_id = makeUuidV7(now, rng);
    SQLite::Statement insert(connection, "INSERT INTO store VALUES (1, ?, 0, 0, 0, ?)");
    Binder binder(insert);
    binder << store_id << now;
    binder.run();
  };
  return settings;
}

}  // namespace

struct SqliteStore::Impl {
  Impl(SqliteStoreOptions options_in, const Clock& clock_in, std::unique_ptr<SqliteDb> db_in)
      : options(std::move(options_in)),
        clock(clock_in),
        db(std::move(db_in)),
        writer(db->connection()),
        put_marks(db->connection(),
                  "UPDATE store SET term = ?, commit_number = ?, restored = ? WHERE id = 1"),
        put_term(db->connection(),
                 "INSERT INTO terms (term, commit_before, start) VALUES (?, ?, ?)"),
        drop_terms(db->connection(), "DELETE FROM terms WHERE term <= ?"),
        pruner(db->connection()),
        reserve(options.path.parent_path() / "reserve.bin", options.reserve_bytes),
        copy_path(options.path.parent_path() / "marks.json"),
        query_thread("store-queries", 1, kMaxQueue),
        writer_thread("store-writer", 1, kMaxQueue) {}

  ~Impl() {
    if (reader) reader->stop();
    const std::lock_guard lock(moving);
    closing = true;  // From here on the query thread hands nothing to the writer.
  }

  Result<void> start();

  /// One durable transaction that ends with `next` as the marks. When the disk is full the reserve
  /// is given up and the same is tried once more.
  Result<void> durably(const Marks& next, const std::function<void()>& changes);
  Result<CommitNumber> commit(const std::vector<Change>& changes);
  Result<void> setRestored(bool restored);
  Result<Marks> raiseMarks(Term seen_term, CommitNumber seen_commit);
  Result<std::size_t> prune(WallTime older_than);

  /// What an operator said of the hosts was about another state of this store.
  void forgetConfirmations() { db->connection().exec("UPDATE hosts SET confirmed = 0"); }
  void beginTerm(const Marks& next);
  void countCommit(bool done, std::size_t rows, Duration took);
  void afterCommit();
  void lookForRoom() { room = reserve.restore(); }
  void pruneOnce();
  void moveLog();
  void writeCopy(const MarksCopy& copy);

  const SqliteStoreOptions options;
  const Clock& clock;
  std::unique_ptr<SqliteDb> db;

  // Of the writer thread, once it runs.
  SqliteWriter writer;
  SQLite::Statement put_marks, put_term, drop_terms;
  HistoryPruner pruner;
  DiskReserve reserve;
  Marks marks;
  TimePoint next_copy, next_prune;
  bool pruning = false;  ///< A slice waits in the queue.

  const std::filesystem::path copy_path;
  MarksCopy copied;  ///< Of the query thread, once it runs.

  mutable std::mutex counted_mutex;
  StoreFigures counted;

  std::atomic<bool> room = true;
  std::atomic<bool> looking_for_room = false;
  std::atomic<bool> copying = false;

  std::unique_ptr<HistoryReader> reader;    ///< Of the query thread.
  std::unique_ptr<SQLite::Database> mover;  ///< Of the query thread.
  std::atomic<bool> move_waits = false;     ///< moveLog() is queued or under way.
  std::mutex moving;
  bool closing = false;  ///< Guarded by `moving`.

  /// Writes the copy once more after both threads have ended.
  struct LastCopy {
    Impl& impl;
    ~LastCopy() {
      const MarksCopy last = MarksCopy::of(impl.marks);
      if (last != impl.copied) impl.writeCopy(last);
    }
  } last_copy{*this};

  // The first to end: the writer hands work to itself and to the other one.
  BlockingExecutor query_thread, writer_thread;
};

Result<void> SqliteStore::Impl::start() {
  Marks stored;
  try {
    stored = readMarks(db->connection());
  } catch (const SQLite::Exception& exception) {
    return errorOf(exception, db->connection(), db->path());
  }
  const auto copy = readMarksCopy(copy_path);
  Marks next = marksOfStart(stored, copy);
  if (next.restored && !stored.restored) {
    log::warn(
        "{} knows less than {}: it was put back from a backup; nothing starts until an "
        "operator has confirmed the hosts",
        db->path().string(), copy_path.string());
  }
  const bool put_back = options.restored || (copy && knowsMore(*copy, stored));
  next.restored = next.restored || put_back;
  next.start = newStart(clock.wallNow());
  const auto changes = [&] {
    if (put_back) forgetConfirmations();
  };
  if (auto done = durably(next, changes); !done) return done;
  writeCopy(MarksCopy::of(marks));
  lookForRoom();

  auto connection = db->openReader(kReaderCacheKib);
  if (!connection) return connection.error();
  reader = std::make_unique<HistoryReader>(std::move(*connection), db->path(), clock);
  auto for_log = db->openMover();
  if (!for_log) return for_log.error();
  mover = std::move(*for_log);
  next_copy = clock.now() + kMarksCopyEvery;
  next_prune = clock.now();
  return {};
}

Result<void> SqliteStore::Impl::durably(const Marks& next, const std::function<void()>& changes) {
  const auto body = [&] {
    changes();
    if (next.term != marks.term) beginTerm(next);
    Binder binder(put_marks);
    binder << next.term.value << next.commit.value << next.restored;
    VMS_CHECK(binder.run() == 1, "the store's row is there");
  };
  Result<void> done = db->transact(body);
  if (!done) {
    writer.rolledBack();
    room = false;
    if (reserve.release()) {
      log::warn("{}; using the reserve, new work is refused", done.error().message);
      done = db->transact(body);
      if (!done) writer.rolledBack();
    }
  }
  if (!done) return done;
  writer.committed();
  marks = next;
  return {};
}

void SqliteStore::Impl::beginTerm(const Marks& next) {
  Binder begun(put_term);
  begun << next.term.value << next.commit.value - 1 << next.start.uuid;
  begun.run();
  Binder dropped(drop_terms);
  dropped << next.term.value - std::min(next.term.value, kTermsKept);
  dropped.run();
}

Result<CommitNumber> SqliteStore::Impl::commit(const std::vector<Change>& changes) {
  Marks next = marks;
  ++next.commit.value;
  const TimePoint began = clock.now();
  const auto done = durably(next, [&] {
    for (const Change& change : changes) writer.put(change);
  });
  countCommit(done.has_value(), changes.size(), clock.now() - began);
  afterCommit();
  if (!done) return done.error();
  return next.commit;
}

void SqliteStore::Impl::countCommit(bool done, std::size_t rows, Duration took) {
  const std::lock_guard lock(counted_mutex);
  if (!done) {
    ++counted.commits_refused;
    return;
  }
  ++counted.commits;
  counted.rows += rows;
  counted.commit_seconds.observe(toSeconds(took));
}

Result<void> SqliteStore::Impl::setRestored(bool restored) {
  Marks next = marks;
  ++next.commit.value;
  next.restored = restored;
  return durably(next, [&] {
    if (restored) forgetConfirmations();
  });
}

Result<Marks> SqliteStore::Impl::raiseMarks(Term seen_term, CommitNumber seen_commit) {
  Marks next = marks;
  if (next.term <= seen_term) {
    next.term.value = seen_term.value + 1;
    next.start = newStart(clock.wallNow());
  }
  next.commit.value = std::max(next.commit, seen_commit).value + 1;
  if (const auto done = durably(next, [] {}); !done) return done.error();
  return next;
}

Result<std::size_t> SqliteStore::Impl::prune(WallTime older_than) {
  std::size_t removed = 0;
  const auto done = db->transact([&] { removed = pruner.slice(older_than); });
  if (!done) return done.error();
  const std::lock_guard lock(counted_mutex);
  counted.rows_pruned += removed;
  return removed;
}

/// Decides what is due and queues it behind the answer.
void SqliteStore::Impl::afterCommit() {
  lookForRoom();
  const TimePoint now = clock.now();
  if (db->logPages() >= options.log_pages && !move_waits.exchange(true)) {
    if (!query_thread.post([this] { moveLog(); })) move_waits = false;
  }
  if (now >= next_copy && !copying.exchange(true)) {
    next_copy = now + kMarksCopyEvery;
    const MarksCopy copy = MarksCopy::of(marks);
    const bool posted = query_thread.post([this, copy] {
      writeCopy(copy);
      copying = false;
    });
    if (!posted) copying = false;
  }
  if (now >= next_prune && !pruning) {
    next_prune = now + kPruneEvery;
    pruning = writer_thread.post([this] { pruneOnce(); });
  }
}

void SqliteStore::Impl::pruneOnce() {
  const auto removed = prune(clock.wallNow() - options.retention);
  const bool again = removed.has_value() && pruner.more();
  pruning = again && writer_thread.post([this] { pruneOnce(); });
}

/// On the query thread, which answers nothing meanwhile: most of the log while commits go on, then,
/// on the writer's thread, the little that they added. A full disk: the log keeps everything, and
/// later commits find out.
void SqliteStore::Impl::moveLog() {
  const std::lock_guard lock(moving);
  if (!closing) {
    static_cast<void>(db->checkpoint(*mover));
    std::binary_semaphore moved(0);
    const bool posted = writer_thread.post([this, &moved] {
      static_cast<void>(db->checkpoint());
      moved.release();
    });
    if (posted) moved.acquire();
  }
  move_waits = false;
}

void SqliteStore::Impl::writeCopy(const MarksCopy& copy) {
  if (auto written = writeMarksCopy(copy_path, copy); !written) {
    log::warn("{}; the store's marks have no copy now", written.error().message);
    return;
  }
  copied = copy;
}

SqliteStore::SqliteStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SqliteStore::~SqliteStore() = default;

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(const SqliteStoreOptions& options,
                                                       const Clock& clock) {
  auto db = SqliteDb::open(settingsOf(options, clock.wallNow()));
  if (!db) return db.error();
  std::unique_ptr<Impl> impl;
  try {
    impl = std::make_unique<Impl>(options, clock, std::move(*db));
  } catch (const SQLite::Exception& exception) {
    return Error(ErrorClass::Invalid, "engine store " + options.path.string() +
                                          " lacks what its version has: " + exception.what() +
                                          "; restore it from a backup");
  }
  if (auto started = impl->start(); !started) return started.error();
  return std::unique_ptr<SqliteStore>(new SqliteStore(std::move(impl)));
}

Result<Snapshot> SqliteStore::load() {
  try {
    Snapshot snapshot = loadSnapshot(impl_->db->connection(), impl_->clock.wallNow());
    snapshot.marks = impl_->marks;
    return snapshot;
  } catch (const SQLite::Exception& exception) {
    return withContext(errorOf(exception, impl_->db->connection(), impl_->db->path()),
                       "cannot load the engine store");
  }
}

asio::awaitable<Result<CommitNumber>> SqliteStore::commit(std::vector<Change> changes) {
  auto work = [impl = impl_.get(), changes = std::move(changes)] { return impl->commit(changes); };
  co_return co_await impl_->writer_thread.run(std::move(work));
}

asio::awaitable<Result<void>> SqliteStore::setRestored(bool restored) {
  auto work = [impl = impl_.get(), restored] { return impl->setRestored(restored); };
  co_return co_await impl_->writer_thread.run(std::move(work));
}

asio::awaitable<Result<Marks>> SqliteStore::raiseMarks(Term seen_term, CommitNumber seen_commit) {
  auto work = [impl = impl_.get(), seen_term, seen_commit] {
    return impl->raiseMarks(seen_term, seen_commit);
  };
  co_return co_await impl_->writer_thread.run(std::move(work));
}

bool SqliteStore::hasRoom() const {
  if (impl_->room) return true;
  // Without commits nobody else would notice that there is room again.
  if (!impl_->looking_for_room.exchange(true)) {
    const bool posted = impl_->writer_thread.post([impl = impl_.get()] {
      impl->lookForRoom();
      impl->looking_for_room = false;
    });
    if (!posted) impl_->looking_for_room = false;
  }
  return false;
}

StoreFigures SqliteStore::figures() const {
  StoreFigures figures;
  {
    const std::lock_guard lock(impl_->counted_mutex);
    figures = impl_->counted;
  }
  figures.has_room = impl_->room;
  const auto sizeOf = [](const std::filesystem::path& path) {
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(path, error);
    return error ? std::uint64_t{0} : std::uint64_t{size};
  };
  figures.database_bytes = sizeOf(impl_->options.path);
  figures.wal_bytes = sizeOf(impl_->options.path.string() + "-wal");
  return figures;
}

asio::awaitable<Result<HistoryPage>> SqliteStore::history(HistoryQuery query) {
  auto work = [impl = impl_.get(), query = std::move(query)] { return impl->reader->page(query); };
  co_return co_await impl_->query_thread.run(std::move(work));
}

asio::awaitable<Result<HistoryStats>> SqliteStore::historyStats(HistoryQuery query) {
  auto work = [impl = impl_.get(), query = std::move(query)] { return impl->reader->stats(query); };
  co_return co_await impl_->query_thread.run(std::move(work));
}

asio::awaitable<Result<std::size_t>> SqliteStore::prune(WallTime older_than) {
  auto work = [impl = impl_.get(), older_than] { return impl->prune(older_than); };
  co_return co_await impl_->writer_thread.run(std::move(work));
}

}  // namespace vms::runner
