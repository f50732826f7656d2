#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "schema/base/sqlite_db.h"
#include "tests/integration/power_cut.h"
#include "tests/integration/store_fixture.h"

namespace vms::test {

/// What a connection finds. Every row has the number of the commit that wrote it.
struct FoundRows {
  std::int64_t rows = 0;
  std::int64_t lowest = 0;
  std::int64_t highest = 0;
  bool operator==(const FoundRows&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const FoundRows& found) {
    return out << found.rows << " rows of " << found.lowest << " to " << found.highest;
  }
};

/// A database of rows that fill a page each.
class GatheredLogTest : public testing::Test {
 protected:
  SqliteSettings settings() const {
    static constexpr Migration kSchema[] = {{1, "rows",
                                             "CREATE TABLE rows (id INTEGER PRIMARY KEY, number "
                                             "INTEGER NOT NULL, text TEXT NOT NULL)"}};
    SqliteSettings settings;
    settings.path = folder_ / "test.db";
    settings.kind = "test database";
    settings.application_id = 0x54455354;
    settings.migrations = kSchema;
    settings.cache_kib = cache_kib_;
    return settings;
  }
  void open() {
    db_.reset();
    auto opened = SqliteDb::open(settings());
    ASSERT_TRUE(opened) << opened.error().message;
    db_ = std::move(*opened);
  }
  /// A connection as a person has it: of the VFS that is the default.
  std::unique_ptr<SQLite::Database> person() const {
    return std::make_unique<SQLite::Database>((folder_ / "test.db").string(),
                                              SQLite::OPEN_READWRITE, 10'000);
  }

  /// Rows 0 to `rows` - 1, inside a transaction of the caller.
  static void put(SQLite::Database& db, std::int64_t rows, std::int64_t number) {
    SQLite::Statement put(db, "INSERT OR REPLACE INTO rows VALUES (?, ?, ?)");
    for (std::int64_t row = 0; row < rows; ++row) {
      put.bind(1, row);
      put.bind(2, number);
      put.bind(3, textOf(row, number));
      put.exec();
      put.reset();
    }
  }
  Result<void> commit(std::int64_t rows, std::int64_t number) {
    return db_->transact([&] { put(db_->connection(), rows, number); });
  }
  static void commitBy(SQLite::Database& db, std::int64_t rows, std::int64_t number) {
    db.exec("BEGIN IMMEDIATE");
    put(db, rows, number);
    db.exec("COMMIT");
  }

  static FoundRows find(SQLite::Database& db) {
    SQLite::Statement read(db, "SELECT id, number, text FROM rows ORDER BY id");
    FoundRows found;
    while (read.executeStep()) {
      const std::int64_t number = read.getColumn(1).getInt64();
      EXPECT_EQ(read.getColumn(2).getString(), textOf(read.getColumn(0).getInt64(), number));
      found.lowest = found.rows == 0 ? number : std::min(found.lowest, number);
      found.highest = std::max(found.highest, number);
      ++found.rows;
    }
    return found;
  }
  /// By a new connection, so that nothing comes from a cache.
  FoundRows findAnew() const { return find(*person()); }
  void expectSound() const {
    EXPECT_EQ(person()->execAndGet("PRAGMA integrity_check").getString(), "ok");
  }

  /// What has happened to the log since the event number `from`.
  static std::vector<DiskEvent> ofLog(const DiskRecorder& recorder, std::size_t from = 0) {
    std::vector<DiskEvent> of_log = recorder.events();
    of_log.erase(of_log.begin(), of_log.begin() + static_cast<std::ptrdiff_t>(from));
    std::erase_if(of_log, [](const DiskEvent& event) { return event.file != "test.db-wal"; });
    return of_log;
  }

  TempFolder folder_;
  int cache_kib_ = 16 * 1024;
  std::unique_ptr<SqliteDb> db_;

 private:
  static std::string textOf(std::int64_t row, std::int64_t number) {
    return std::string(3500, static_cast<char>('a' + (row + number) % 26));
  }
};

}  // namespace vms::test
