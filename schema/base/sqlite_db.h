#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "schema/base/error.h"
#include "schema/base/migration.h"
#include "schema/base/sqlite_header.h"
#include "schema/base/time.h"

namespace SQLite {
class Database;
class Exception;
}  // namespace SQLite

namespace vms {

/// What a database file must be to be accepted, and how it is used.
struct SqliteSettings {
  std::filesystem::path path;
  std::string kind;                  ///< "engine store", for messages.
  std::uint32_t application_id = 0;  ///< Tells our files from others; differs by kind.
  std::span<const Migration> migrations;
  /// First rows of a new file, in the transaction that creates it.
  std::function<void(SQLite::Database&)> seed;
  int cache_kib = 16 * 1024;
  /// Slept after each commit, as a slower disk would: for benchmarks.
  Duration commit_delay{};
  /// The file grows to this many pages and is full then: for tests.
  std::optional<std::uint32_t> max_pages;
};

/// Whether a file whose header says this is what `settings` describe. Invalid: the message says why
/// not and what to do.
Result<void> checkSqliteHeader(const SqliteSettings& settings, const SqliteHeader& header);

/// One database file, locked by this process for as long as this lives.
///
/// Write-ahead log with full sync, so a commit is durable when it returns; readers never wait for
/// it. A file that is not ours, of a newer release, or damaged is refused and not changed by a
/// byte. The connection is used by one thread at a time; exceptions of SQLite do not leave this
/// class's own functions.
class SqliteDb {
 public:
  /// Opens, creates if missing (whole or not at all), and migrates (in one transaction) the file.
  /// Busy: in use by another process. Invalid: refused, the message says why and what to do.
  static Result<std::unique_ptr<SqliteDb>> open(SqliteSettings settings);

  ~SqliteDb();
  SqliteDb(const SqliteDb&) = delete;
  SqliteDb& operator=(const SqliteDb&) = delete;

  SQLite::Database& connection();
  const std::filesystem::path& path() const;
  /// This open() made the file.
  bool created() const;

  /// Runs `body`, which throws only what SQLite throws, as one durable transaction. StoreFull:
  /// rolled back, nothing changed; it may be tried again. Any other failure ends the process (S13).
  Result<void> transact(const std::function<void()>& body);

  /// Another connection for queries only, of one thread at a time; it must not outlive this.
  Result<std::unique_ptr<SQLite::Database>> openReader(int cache_kib);

  /// Another connection for checkpoint(connection), of one thread at a time; it must not outlive
  /// this.
  Result<std::unique_ptr<SQLite::Database>> openMover();

  /// Pages in the write-ahead log after the last commit.
  int logPages() const;
  /// Moves what it can from the write-ahead log into the file, without waiting for readers. The log
  /// begins anew with a later commit if all was moved and no reader uses it. StoreFull: later, the
  /// log keeps everything. Any other failure ends the process.
  Result<void> checkpoint();
  /// The same through a connection of openMover(), while commits go on. From its thread.
  Result<void> checkpoint(SQLite::Database& mover) const;

 private:
  struct Impl;
  explicit SqliteDb(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

/// An error of SQLite in words, with the file and a next step. StoreFull: no space; Deadline: a
/// query was interrupted; Internal: anything else, damage included.
Error errorOf(const SQLite::Exception& exception, const SQLite::Database& connection,
              const std::filesystem::path& path);

}  // namespace vms
