#pragma once

#include <string>
#include <string_view>

#include "runner/records.h"
#include "schema/base/sqlite_rows.h"

/// Records of the engine as rows of its tables. Only for the .cc files of the SQLite store.
namespace vms::runner {

/// One table whose rows are upserted whole.
struct TableText {
  std::string_view name;
  std::string_view key;      ///< Columns of the primary key.
  std::string_view columns;  ///< In the order in which they are bound and read.
  std::string_view fixed;    ///< Columns, besides the key, that an update never changes.
  std::string_view guard;    ///< Condition of an update; when it fails, no row is changed.
};

extern const TableText kVmTable;
extern const TableText kVmDefinitionTable;
extern const TableText kRequestTable;
extern const TableText kItemTable;
extern const TableText kRunTable;
extern const TableText kAttemptTable;
extern const TableText kHostTable;
extern const TableText kTokenTable;

/// "INSERT INTO ... ON CONFLICT ... DO UPDATE ...", a parameter for each column.
std::string upsertSql(const TableText& table);
/// The columns, each as `alias.column` if an alias is given.
std::string selectList(const TableText& table, std::string_view alias = {});

/// Each runs its table's upsert and returns the rows that it changed: 0 when the guard refused.
int putVm(SQLite::Statement& upsert, const VmRecord& vm);
int putVmDefinition(SQLite::Statement& upsert, const VmRecord& vm);
int putRequest(SQLite::Statement& upsert, const RequestRecord& request);
int putItem(SQLite::Statement& upsert, const ItemRecord& item);
int putRun(SQLite::Statement& upsert, const RunRecord& run);
int putAttempt(SQLite::Statement& upsert, const AttemptRecord& attempt);
int putHost(SQLite::Statement& upsert, const HostRecord& host);
int putToken(SQLite::Statement& upsert, const TokenRecord& token);

/// Each reads one row of its table's columns. readVm reads those of the definition after its own.
VmRecord readVm(SQLite::Statement& row);
RequestRecord readRequest(SQLite::Statement& row);
ItemRecord readItem(SQLite::Statement& row);
RunRecord readRun(SQLite::Statement& row);
AttemptRecord readAttempt(SQLite::Statement& row);
HostRecord readHost(SQLite::Statement& row);
TokenRecord readToken(SQLite::Statement& row);

}  // namespace vms::runner
