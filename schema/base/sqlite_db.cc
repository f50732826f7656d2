#include "schema/base/sqlite_db.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <exception>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "schema/base/check.h"
#include "schema/base/file_lock.h"
#include "schema/base/files.h"
#include "schema/base/log.h"
#include "schema/base/sqlite_gathered_log.h"
#include "schema/base/sqlite_header.h"

namespace vms {
namespace {

/// How long another process (a person's sqlite3) may hold the file before that counts as an error.
constexpr int kBusyTimeoutMs = 10'000;
/// Up to this size the whole file is verified at each start; larger ones when they are read.
constexpr std::uintmax_t kVerifiedBytes = std::uintmax_t{64} << 20U;
/// The log is cut back to this size once it has been moved into the file.
constexpr int kLogBytesKept = 64 << 20;
/// While the log grows, it is filled that far ahead of its use: a sync that changes no file's size
/// costs about half. Little, for the next commit writes it to the disk.
constexpr sqlite3_int64 kLogAhead = 256 << 10;
constexpr int kPageBytes = 4096;
constexpr int kFrameHeaderBytes = 24;

std::filesystem::path besides(const std::filesystem::path& path, const char* suffix) {
  std::filesystem::path other = path;
  other += suffix;
  return other;
}

std::filesystem::path folderOf(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.parent_path();
  return folder.empty() ? std::filesystem::path(".") : folder;
}

bool isFull(const SQLite::Exception& exception, const SQLite::Database& connection) {
  const int code = exception.getErrorCode();
  if (code == SQLITE_FULL) return true;
  if ((code & 0xff) != SQLITE_IOERR) return false;
  if (exception.getExtendedErrorCode() == SQLITE_IOERR_SHMSIZE) return true;
  const int system_errno = sqlite3_system_errno(connection.getHandle());
  return system_errno == ENOSPC || system_errno == EDQUOT;
}

std::string nameOfFile(const SqliteSettings& settings) {
  return settings.kind + " " + settings.path.string();
}

Error refusal(const SqliteSettings& settings, const std::string& why) {
  return {ErrorClass::Invalid, nameOfFile(settings) + " " + why};
}

int latestVersion(const SqliteSettings& settings) {
  return settings.migrations.empty() ? 0 : settings.migrations.back().version;
}

Result<void> checkOwner(const SqliteSettings& settings, std::uint32_t application_id) {
  if (application_id == settings.application_id) return {};
  return refusal(settings, "was made by another program (application id " +
                               std::to_string(application_id) + ", expected " +
                               std::to_string(settings.application_id) +
                               "); nothing was changed; check the configured path");
}

Result<void> checkVersion(const SqliteSettings& settings, std::uint32_t version) {
  const int latest = latestVersion(settings);
  if (version > static_cast<std::uint32_t>(latest)) {
    return refusal(settings, "has schema version " + std::to_string(version) +
                                 ", but this release knows versions up to " +
                                 std::to_string(latest) +
                                 "; nothing was changed; install the release that wrote it or a "
                                 "newer one, or restore a backup of the older version");
  }
  if (version == 0) {
    return refusal(settings,
                   "has no schema version; nothing was changed; restore it from a backup");
  }
  return {};
}

void pragma(SQLite::Database& connection, const std::string& text) {
  SQLite::Statement statement(connection, "PRAGMA " + text);
  while (statement.executeStep()) {
  }
}

std::string pragmaText(SQLite::Database& connection, const std::string& text) {
  SQLite::Statement statement(connection, "PRAGMA " + text);
  return statement.executeStep() ? statement.getColumn(0).getString() : std::string();
}

/// Applies what the file lacks; inside a transaction of the caller.
void migrate(SQLite::Database& connection, const SqliteSettings& settings, int from) {
  for (const Migration& migration : settings.migrations) {
    if (migration.version <= from) continue;
    connection.exec(std::string(migration.sql));
    pragma(connection, "user_version = " + std::to_string(migration.version));
  }
}

/// Makes a whole new file under another name and gives it its name last, so that a crash leaves
/// either none or a complete one.
Result<void> create(const SqliteSettings& settings) {
  std::error_code ignored;
  const auto log_size = std::filesystem::file_size(besides(settings.path, "-wal"), ignored);
  if (!ignored && log_size > 0) {
    return refusal(settings, "is missing, but its write-ahead log " + settings.path.string() +
                                 "-wal is there; put the database back, or move the log away to "
                                 "begin with a new one");
  }
  const std::filesystem::path draft = besides(settings.path, ".new");
  ::unlink(draft.c_str());
  ::unlink(besides(draft, "-journal").c_str());
  {
    // Private from the beginning; SQLite gives its other files the same mode.
    const UniqueFd fd(::open(draft.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd) return errnoError(errno, "cannot create " + nameOfFile(settings));
  }
  try {
    SQLite::Database connection(draft.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX,
                                kBusyTimeoutMs);
    try {
      pragma(connection, "page_size = " + std::to_string(kPageBytes));
      pragma(connection, "synchronous = EXTRA");
      connection.exec("BEGIN IMMEDIATE");
      pragma(connection, "application_id = " + std::to_string(settings.application_id));
      migrate(connection, settings, 0);
      if (settings.seed) settings.seed(connection);
      connection.exec("COMMIT");
    } catch (const SQLite::Exception& exception) {
      return withContext(errorOf(exception, connection, draft),
                         "cannot create " + nameOfFile(settings));
    }
  } catch (const SQLite::Exception& exception) {
    return Error(ErrorClass::Dependency,
                 "cannot create " + nameOfFile(settings) + ": " + exception.what());
  }
  if (::rename(draft.c_str(), settings.path.c_str()) != 0) {
    return errnoError(errno, "cannot rename " + draft.string());
  }
  return syncDirectory(folderOf(settings.path));
}

[[noreturn]] void dieOf(const Error& error) {
  log::error("{}; ending now, the next start recovers", error.message);
  checkFailed("a durable write works or the disk is full", __FILE__, __LINE__,
              error.message.c_str());
}

int rememberLogPages(void* pages, sqlite3*, const char*, int count) {
  *static_cast<int*>(pages) = count;
  return SQLITE_OK;
}

}  // namespace

struct SqliteDb::Impl {
  Impl(SqliteSettings settings_in, FileLock lock_in)
      : settings(std::move(settings_in)), lock(std::move(lock_in)) {}

  /// Reads and compares; changes nothing.
  Result<void> inspect() {
    SqliteHeader header;
    header.application_id =
        static_cast<std::uint32_t>(std::stoll(pragmaText(*connection, "application_id")));
    header.schema_version =
        static_cast<std::uint32_t>(std::stoll(pragmaText(*connection, "user_version")));
    if (auto ours = checkSqliteHeader(settings, header); !ours) return ours;
    std::error_code error;
    if (std::filesystem::file_size(settings.path, error) <= kVerifiedBytes && !error) {
      const std::string verdict = pragmaText(*connection, "quick_check(1)");
      if (verdict != "ok") {
        return refusal(settings, "is damaged (" + verdict +
                                     "); nothing was changed; restore it from a backup");
      }
    }
    return {};
  }

  Result<void> configure() {
    SQLite::Database& db = *connection;
    // A new file and a copy get their log here, which takes a rollback journal. Its end must be
    // durable: a journal that comes back with a power cut would undo page 1 much later.
    pragma(db, "synchronous = EXTRA");
    if (pragmaText(db, "journal_mode = WAL") != "wal") {
      return refusal(settings,
                     "cannot have a write-ahead log on its file system; move it to a local one");
    }
    pragma(db, "synchronous = FULL");
    pragma(db, "foreign_keys = ON");
    pragma(db, "trusted_schema = OFF");
    pragma(db, "cell_size_check = ON");
    pragma(db, "temp_store = MEMORY");
    pragma(db, "mmap_size = 0");
    pragma(db, "cache_size = -" + std::to_string(settings.cache_kib));
    pragma(db, "journal_size_limit = " + std::to_string(kLogBytesKept));
    if (settings.max_pages) {
      pragma(db, "max_page_count = " + std::to_string(*settings.max_pages));
    }
    // checkpoint() is called by hand, so that its failures are seen. The hook replaces SQLite's
    // own.
    sqlite3_wal_hook(db.getHandle(), &rememberLogPages, &log_pages);
    return {};
  }

  Result<void> upgrade() {
    const int version = std::stoi(pragmaText(*connection, "user_version"));
    if (version == latestVersion(settings)) return {};
    connection->exec("BEGIN IMMEDIATE");
    migrate(*connection, settings, version);
    connection->exec("COMMIT");
    log::info("{} migrated from schema version {} to {}", nameOfFile(settings), version,
              latestVersion(settings));
    // Into the file itself, so that an older release sees the new number before it looks further.
    sqlite3_wal_checkpoint_v2(connection->getHandle(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr,
                              nullptr);
    return {};
  }

  Result<void> connect() {
    try {
      connection = std::make_unique<SQLite::Database>(settings.path.string(),
                                                      SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX,
                                                      kBusyTimeoutMs, gatheredLogVfs());
      sqlite3_db_config(connection->getHandle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
      if (auto accepted = inspect(); !accepted) return accepted;
      sqlite3_db_config(connection->getHandle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
      if (auto configured = configure(); !configured) return configured;
      if (auto upgraded = upgrade(); !upgraded) return upgraded;
      begin.emplace(*connection, "BEGIN IMMEDIATE");
      commit.emplace(*connection, "COMMIT");
      return {};
    } catch (const SQLite::Exception& exception) {
      if (!connection) {
        return refusal(settings, "cannot be opened: " + std::string(exception.what()));
      }
      Error error = errorOf(exception, *connection, settings.path);
      if (error.error_class == ErrorClass::Internal) error.error_class = ErrorClass::Invalid;
      return withContext(std::move(error), "cannot open " + settings.kind);
    }
  }

  /// Zeros behind the end of the log are no frames to SQLite. If it fails, the disk is full and a
  /// commit will tell.
  void growLog() {
    const sqlite3_int64 used = sqlite3_int64{log_pages} * (kPageBytes + kFrameHeaderBytes);
    if (used + kLogAhead / 4 <= log_bytes) return;
    sqlite3_file* log = nullptr;
    sqlite3_file_control(connection->getHandle(), nullptr, SQLITE_FCNTL_JOURNAL_POINTER,
                         static_cast<void*>(&log));
    if (log == nullptr || log->pMethods == nullptr) return;
    if (log->pMethods->xFileSize(log, &log_bytes) != SQLITE_OK) return;
    static constexpr std::array<char, 64 << 10> kZeros{};
    const sqlite3_int64 wanted = used + kLogAhead;
    while (log_bytes < wanted) {
      const int code = log->pMethods->xWrite(log, kZeros.data(), int{kZeros.size()}, log_bytes);
      if (code != SQLITE_OK) return;
      log_bytes += sqlite3_int64{kZeros.size()};
    }
  }

  /// After a failure; SQLite has rolled back by itself for some of them.
  void rollBack() {
    begin->tryReset();
    commit->tryReset();
    sqlite3* const handle = connection->getHandle();
    if (sqlite3_get_autocommit(handle) != 0) return;
    if (sqlite3_exec(handle, "ROLLBACK", nullptr, nullptr, nullptr) != SQLITE_OK) {
      dieOf(Error(ErrorClass::Internal,
                  settings.path.string() + ": cannot roll back: " + sqlite3_errmsg(handle)));
    }
  }

  SqliteSettings settings;
  FileLock lock;
  bool created = false;
  int log_pages = 0;
  sqlite3_int64 log_bytes = 0;  ///< Of its file, when it was last looked at.
  std::unique_ptr<SQLite::Database> connection;
  std::optional<SQLite::Statement> begin, commit;
};

Result<void> checkSqliteHeader(const SqliteSettings& settings, const SqliteHeader& header) {
  if (auto ours = checkOwner(settings, header.application_id); !ours) return ours;
  return checkVersion(settings, header.schema_version);
}

SqliteDb::SqliteDb(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SqliteDb::~SqliteDb() = default;

Result<std::unique_ptr<SqliteDb>> SqliteDb::open(SqliteSettings settings) {
  std::error_code error;
  const std::filesystem::path folder = folderOf(settings.path);
  if (!std::filesystem::is_directory(folder, error)) {
    return Error(ErrorClass::NotFound, "folder " + folder.string() + " of " + nameOfFile(settings) +
                                           " does not exist; create it or change the path");
  }
  auto lock = FileLock::acquire(besides(settings.path, ".lock"), nameOfFile(settings));
  if (!lock) return lock.error();
  auto impl = std::make_unique<Impl>(std::move(settings), std::move(*lock));

  const auto header = readSqliteHeader(impl->settings.path);
  if (!header) return withContext(header.error(), impl->settings.kind);
  if (!*header) {
    if (auto made = create(impl->settings); !made) return made.error();
    impl->created = true;
  } else {
    if (auto ours = checkSqliteHeader(impl->settings, **header); !ours) return ours.error();
  }
  if (auto connected = impl->connect(); !connected) return connected.error();
  return std::unique_ptr<SqliteDb>(new SqliteDb(std::move(impl)));
}

SQLite::Database& SqliteDb::connection() { return *impl_->connection; }
const std::filesystem::path& SqliteDb::path() const { return impl_->settings.path; }
bool SqliteDb::created() const { return impl_->created; }
int SqliteDb::logPages() const { return impl_->log_pages; }

Result<void> SqliteDb::transact(const std::function<void()>& body) {
  try {
    impl_->begin->exec();
    impl_->begin->reset();
    body();
    {
      const GatheredCommit gathered(impl_->connection->getHandle());
      impl_->commit->exec();
    }
    impl_->commit->reset();
    impl_->growLog();
  } catch (const SQLite::Exception& exception) {
    Error error = errorOf(exception, *impl_->connection, impl_->settings.path);
    impl_->rollBack();
    if (error.error_class != ErrorClass::StoreFull) dieOf(error);
    return error;
  }
  if (impl_->settings.commit_delay > Duration::zero()) {
    std::this_thread::sleep_for(impl_->settings.commit_delay);
  }
  return {};
}

Result<std::unique_ptr<SQLite::Database>> SqliteDb::openReader(int cache_kib) {
  std::unique_ptr<SQLite::Database> reader;
  try {
    reader = std::make_unique<SQLite::Database>(impl_->settings.path.string(),
                                                SQLite::OPEN_READONLY | SQLite::OPEN_NOMUTEX,
                                                kBusyTimeoutMs);
    pragma(*reader, "query_only = ON");
    pragma(*reader, "trusted_schema = OFF");
    pragma(*reader, "temp_store = MEMORY");
    pragma(*reader, "mmap_size = 0");
    pragma(*reader, "cache_size = -" + std::to_string(cache_kib));
    return reader;
  } catch (const SQLite::Exception& exception) {
    return Error(ErrorClass::Internal, "cannot open " + impl_->settings.kind + " " +
                                           impl_->settings.path.string() +
                                           " for queries: " + exception.what());
  }
}

Result<std::unique_ptr<SQLite::Database>> SqliteDb::openMover() {
  try {
    auto mover = std::make_unique<SQLite::Database>(impl_->settings.path.string(),
                                                    SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX,
                                                    kBusyTimeoutMs);
    pragma(*mover, "synchronous = FULL");
    return mover;
  } catch (const SQLite::Exception& exception) {
    return Error(ErrorClass::Internal, "cannot open " + impl_->settings.kind + " " +
                                           impl_->settings.path.string() +
                                           " for its log: " + exception.what());
  }
}

Result<void> SqliteDb::checkpoint() {
  auto done = checkpoint(*impl_->connection);
  impl_->log_pages = 0;  // The next commit tells the size again.
  return done;
}

Result<void> SqliteDb::checkpoint(SQLite::Database& mover) const {
  sqlite3* const handle = mover.getHandle();
  const int code =
      sqlite3_wal_checkpoint_v2(handle, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (code == SQLITE_OK || code == SQLITE_BUSY || code == SQLITE_LOCKED) return {};
  const SQLite::Exception exception(handle, code);
  Error error = errorOf(exception, mover, impl_->settings.path);
  if (error.error_class != ErrorClass::StoreFull) dieOf(error);
  return error;
}

Error errorOf(const SQLite::Exception& exception, const SQLite::Database& connection,
              const std::filesystem::path& path) {
  const std::string what = "database " + path.string() + ": " + exception.what();
  if (isFull(exception, connection)) {
    return {ErrorClass::StoreFull, what + "; make room on its file system, nothing was changed"};
  }
  switch (exception.getErrorCode() & 0xff) {
    case SQLITE_INTERRUPT:
      return {ErrorClass::Deadline, what + "; ask for a smaller range"};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {ErrorClass::Internal, what + " (it is damaged); restore it from a backup"};
    case SQLITE_BUSY:
      return {ErrorClass::Internal, what + "; another program keeps it locked, end that one"};
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
      return {ErrorClass::Internal, what + "; check owner and mode of the file and its folder"};
    default:
      return {ErrorClass::Internal, what + " (code " +
                                        std::to_string(exception.getExtendedErrorCode()) +
                                        "); look for errors of the disk in the system's log"};
  }
}

}  // namespace vms
