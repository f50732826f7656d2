#include "runner/sqlite_backup.h"

#include <SQLiteCpp/SQLiteCpp.h>

#include <system_error>
#include <utility>

#include "runner/sqlite_tables.h"
#include "schema/base/sqlite_copy.h"
#include "schema/base/sqlite_rows.h"
#include "schema/sql/engine_migrations.h"

namespace vms::runner {
namespace {

BackupContents contentsOf(SQLite::Database& copy) {
  SQLite::Statement statement(
      copy,
      "SELECT store_id, term, commit_number, restored, (SELECT count(*) FROM vms WHERE defined), "
      "(SELECT count(*) FROM hosts), (SELECT count(*) FROM attempts), (SELECT count(*) FROM "
      "attempts WHERE " +
          std::string(kOpenAttempt) + ") FROM store");
  if (!statement.executeStep()) throw SQLite::Exception("it has no marks", SQLITE_CORRUPT);
  BackupContents contents;
  RowReader(statement) >> contents.marks.store_id.uuid >> contents.marks.term.value >>
      contents.marks.commit.value >> contents.marks.restored >> contents.vms >> contents.hosts >>
      contents.attempts >> contents.open_attempts;
  return contents;
}

}  // namespace

Result<BackupContents> backupStore(
    const std::filesystem::path& database, const std::filesystem::path& target,
    const std::function<void(std::uint64_t done, std::uint64_t total)>& progress) {
  BackupContents contents;
  SqliteCopy copy;
  copy.source.path = database;
  copy.source.kind = kStoreKind;
  copy.source.application_id = kStoreApplicationId;
  copy.source.migrations = engineMigrations();
  copy.target = target;
  copy.progress = progress;
  copy.finish = [&contents](SQLite::Database& made) {
    made.exec("UPDATE store SET restored = 1");
    made.exec("UPDATE hosts SET confirmed = 0");
    contents = contentsOf(made);
  };
  if (auto copied = copySqlite(copy); !copied) return copied.error();
  std::error_code ignored;
  contents.bytes = std::filesystem::file_size(target, ignored);
  return contents;
}

}  // namespace vms::runner
