#include "hostagent/sqlite_journal.h"

#include <SQLiteCpp/SQLiteCpp.h>

#include <atomic>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "hostagent/sqlite_journal_rows.h"
#include "schema/base/blocking_executor.h"
#include "schema/base/sqlite_db.h"
#include "schema/sql/agent_migrations.h"

namespace vms::hostagent {
namespace {

constexpr std::uint32_t kApplicationId = 0x564d534a;  // "VMSJ"
constexpr int kCacheKib = 8 * 1024;
/// The log is moved into the file when it has this many pages (4 MiB).
constexpr int kCheckpointPages = 1024;
/// Calls that may wait at once.
constexpr std::size_t kMaxWaiting = 65'536;

/// One commit(). Its answer belongs to the writer thread.
struct Call {
  std::vector<JournalChange> changes;
  bool answered = false;
  Result<void> answer;
};

}  // namespace

struct SqliteJournal::Impl {
  explicit Impl(std::unique_ptr<SqliteDb> db_in)
      : db(std::move(db_in)), writer(db->connection()), thread("journal", 1, kMaxWaiting + 8) {}

  /// On the writer thread: one transaction for all calls that wait, `call` among them, unless an
  /// earlier one took it along. So calls are answered in their order.
  Result<void> flush(Call& call) {
    if (call.answered) return call.answer;
    std::vector<std::shared_ptr<Call>> group;
    {
      const std::lock_guard lock(mutex);
      group.swap(waiting);
    }
    const Result<void> done = db->transact([&] {
      for (const auto& one : group) {
        for (const JournalChange& change : one->changes) writer.put(change);
      }
    });
    ++transactions;
    for (const auto& one : group) {
      one->answered = true;
      one->answer = done;
    }
    if (db->logPages() >= kCheckpointPages) {
      thread.post([this] {
        // A full disk: the log keeps everything, and later commits find out.
        if (db->logPages() >= kCheckpointPages) static_cast<void>(db->checkpoint());
      });
    }
    return call.answer;
  }

  std::unique_ptr<SqliteDb> db;
  JournalWriter writer;
  std::atomic<std::uint64_t> transactions = 0;
  std::mutex mutex;
  std::vector<std::shared_ptr<Call>> waiting;
  BlockingExecutor thread;
};

SqliteJournal::SqliteJournal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SqliteJournal::~SqliteJournal() = default;

Result<std::unique_ptr<SqliteJournal>> SqliteJournal::open(const SqliteJournalOptions& options) {
  SqliteSettings settings;
  settings.path = options.path;
  settings.kind = "claim journal";
  settings.application_id = kApplicationId;
  settings.migrations = agentMigrations();
  settings.cache_kib = kCacheKib;
  settings.commit_delay = options.commit_delay;
  settings.max_pages = options.max_pages;
  auto db = SqliteDb::open(std::move(settings));
  if (!db) return db.error();
  try {
    auto impl = std::make_unique<Impl>(std::move(*db));
    return std::unique_ptr<SqliteJournal>(new SqliteJournal(std::move(impl)));
  } catch (const SQLite::Exception& exception) {
    return Error(ErrorClass::Invalid, "claim journal " + options.path.string() +
                                          " lacks what its version has: " + exception.what() +
                                          "; restore it from a backup");
  }
}

Result<JournalContents> SqliteJournal::load() {
  try {
    return readJournal(impl_->db->connection());
  } catch (const SQLite::Exception& exception) {
    return withContext(errorOf(exception, impl_->db->connection(), impl_->db->path()),
                       "cannot load the claim journal");
  }
}

asio::awaitable<Result<void>> SqliteJournal::commit(std::vector<JournalChange> changes) {
  if (impl_->thread.queued() >= kMaxWaiting) {
    co_return Error(ErrorClass::RateLimited,
                    "more than " + std::to_string(kMaxWaiting) +
                        " changes wait for the claim journal; try again later");
  }
  const auto call = std::make_shared<Call>();
  call->changes = std::move(changes);
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->waiting.push_back(call);
  }
  auto work = [impl = impl_.get(), call] { return impl->flush(*call); };
  co_return co_await impl_->thread.run(std::move(work));
}

std::uint64_t SqliteJournal::transactions() const { return impl_->transactions; }

}  // namespace vms::hostagent
