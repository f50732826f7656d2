#include "schema/base/sqlite_copy.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "schema/base/files.h"
#include "schema/base/sqlite_header.h"
#include "schema/base/unique_fd.h"

namespace vms {
namespace {

constexpr int kBusyTimeoutMs = 10'000;
constexpr std::uint64_t kStepBytes = std::uint64_t{1} << 20U;
/// What is not yet on disk is bounded: a commit of the source may have to wait until it is.
constexpr std::uint64_t kSyncBytes = std::uint64_t{4} << 20U;

std::filesystem::path folderOf(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.parent_path();
  return folder.empty() ? std::filesystem::path(".") : folder;
}

Error existsAlready(const std::filesystem::path& target) {
  return {ErrorClass::Invalid,
          target.string() + " exists; give a new name or move it away, nothing is overwritten"};
}

/// Whether the open file is the one at `path`, and not one that was renamed since.
bool isAt(int fd, const std::filesystem::path& path) {
  struct stat open_file {};
  struct stat named_file {};
  return ::fstat(fd, &open_file) == 0 && ::lstat(path.c_str(), &named_file) == 0 &&
         open_file.st_dev == named_file.st_dev && open_file.st_ino == named_file.st_ino;
}

/// The file under its temporary name: goes unless it has got its own.
class Draft {
 public:
  static Result<Draft> make(const std::filesystem::path& target) {
    std::filesystem::path path = target;
    path += ".part";
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return errnoError(errno, "cannot create " + path.string());
    // What another process has given its name meanwhile is a finished copy.
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0 || !isAt(fd.get(), path)) {
      return Error(ErrorClass::Busy, "another process writes " + path.string() +
                                         "; wait for it to end or give another name");
    }
    Draft draft(std::move(path), std::move(fd));
    if (::fchmod(draft.fd_.get(), 0600) != 0 || ::ftruncate(draft.fd_.get(), 0) != 0) {
      return errnoError(errno, "cannot empty " + draft.path_.string());
    }
    for (const char* const suffix : {"-wal", "-shm", "-journal"}) {
      ::unlink((draft.path_.string() + suffix).c_str());
    }
    return draft;
  }
  ~Draft() {
    if (fd_) ::unlink(path_.c_str());
  }
  Draft(Draft&&) = default;
  Draft& operator=(Draft&&) = delete;

  const std::filesystem::path& path() const { return path_; }

  Result<void> sync() const {
    if (::fsync(fd_.get()) == 0) return {};
    return errnoError(errno, "cannot sync " + path_.string());
  }

  /// Gives the file its name unless that is taken.
  Result<void> publish(const std::filesystem::path& target) {
    int renamed = ::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE);
    if (renamed != 0 && errno == EINVAL) {  // A file system without that flag.
      renamed = ::access(target.c_str(), F_OK) == 0 ? -1 : ::rename(path_.c_str(), target.c_str());
      if (renamed != 0 && ::access(target.c_str(), F_OK) == 0) errno = EEXIST;
    }
    if (renamed != 0) {
      if (errno == EEXIST) return existsAlready(target);
      return errnoError(errno, "cannot rename " + path_.string() + " to " + target.string());
    }
    fd_.reset();
    return syncDirectory(folderOf(target));
  }

 private:
  Draft(std::filesystem::path path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::filesystem::path path_;
  UniqueFd fd_;  ///< Also the lock against a second copy; open as long as the name is temporary.
};

struct FinishBackup {
  void operator()(sqlite3_backup* backup) const { sqlite3_backup_finish(backup); }
};

Error copyError(const SqliteCopy& copy, SQLite::Database& target, const Draft& draft, int code) {
  return withContext(errorOf(SQLite::Exception(target.getHandle(), code), target, draft.path()),
                     "cannot copy " + copy.source.kind + " " + copy.source.path.string());
}

/// All pages of the snapshot that `source` holds, in bounded steps.
Result<void> copyPages(const SqliteCopy& copy, SQLite::Database& source, SQLite::Database& target,
                       const Draft& draft) {
  const std::unique_ptr<sqlite3_backup, FinishBackup> backup(
      sqlite3_backup_init(target.getHandle(), "main", source.getHandle(), "main"));
  if (!backup) return copyError(copy, target, draft, sqlite3_errcode(target.getHandle()));
  const auto page = static_cast<std::uint64_t>(source.execAndGet("PRAGMA page_size").getInt64());
  const int pages = static_cast<int>(kStepBytes / page);
  std::uint64_t unsynced = 0;
  for (;;) {
    const int code = sqlite3_backup_step(backup.get(), pages);
    if (code != SQLITE_OK && code != SQLITE_DONE) return copyError(copy, target, draft, code);
    const auto total = static_cast<std::uint64_t>(sqlite3_backup_pagecount(backup.get())) * page;
    const auto left = static_cast<std::uint64_t>(sqlite3_backup_remaining(backup.get())) * page;
    if (copy.progress) copy.progress(total - left, total);
    if (code == SQLITE_DONE) return {};
    unsynced += kStepBytes;
    if (unsynced >= kSyncBytes) {
      if (auto synced = draft.sync(); !synced) return synced;
      unsynced = 0;
    }
    std::this_thread::sleep_for(copy.pause);
  }
}

Result<void> fill(const SqliteCopy& copy, const Draft& draft) {
  SQLite::Database target(draft.path().string(), SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX);
  try {
    // Nobody else sees the file before it is complete and synced.
    target.exec("PRAGMA cache_size = -2048");
    target.execAndGet("PRAGMA journal_mode = OFF");
    target.exec("PRAGMA synchronous = OFF");
    {
      SQLite::Database source(copy.source.path.string(),
                              SQLite::OPEN_READONLY | SQLite::OPEN_NOMUTEX, kBusyTimeoutMs);
      try {
        // One snapshot for all steps.
        source.exec("BEGIN");
        source.execAndGet("SELECT count(*) FROM sqlite_schema");
        SqliteHeader header;
        header.application_id =
            static_cast<std::uint32_t>(source.execAndGet("PRAGMA application_id").getInt64());
        header.schema_version =
            static_cast<std::uint32_t>(source.execAndGet("PRAGMA user_version").getInt64());
        if (auto ours = checkSqliteHeader(copy.source, header); !ours) return ours;
        if (auto copied = copyPages(copy, source, target, draft); !copied) return copied;
      } catch (const SQLite::Exception& exception) {
        return errorOf(exception, source, copy.source.path);
      }
    }
    // The mode came along; without it the copy is one file.
    target.execAndGet("PRAGMA journal_mode = DELETE");
    if (copy.finish) copy.finish(target);
    target.exec("PRAGMA cache_size = -65536");
    const std::string verdict = target.execAndGet("PRAGMA integrity_check(1)").getString();
    if (verdict != "ok") {
      return Error(ErrorClass::Invalid,
                   copy.source.kind + " " + copy.source.path.string() + " is damaged (" + verdict +
                       "), so no copy was kept; look for errors of the disk in the system's log "
                       "and keep the copies that you have");
    }
    return {};
  } catch (const SQLite::Exception& exception) {
    return errorOf(exception, target, draft.path());
  }
}

}  // namespace

Result<void> copySqlite(const SqliteCopy& copy) {
  std::error_code ignored;
  if (std::filesystem::exists(std::filesystem::symlink_status(copy.target, ignored))) {
    return existsAlready(copy.target);
  }
  const auto header = readSqliteHeader(copy.source.path);
  if (!header) return withContext(header.error(), copy.source.kind);
  if (!*header) {
    return Error(ErrorClass::NotFound, copy.source.kind + " " + copy.source.path.string() +
                                           " does not exist; check the configured path");
  }
  if (auto ours = checkSqliteHeader(copy.source, **header); !ours) return ours;

  auto draft = Draft::make(copy.target);
  if (!draft) return draft.error();
  try {
    if (auto filled = fill(copy, *draft); !filled) return filled;
  } catch (const SQLite::Exception& exception) {
    return Error(ErrorClass::Dependency, "cannot copy " + copy.source.path.string() + " to " +
                                             draft->path().string() + ": " + exception.what());
  }
  if (auto synced = draft->sync(); !synced) return synced;
  return draft->publish(copy.target);
}

}  // namespace vms
