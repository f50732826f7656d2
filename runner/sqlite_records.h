#pragma once

#include "runner/records.h"
#include "runner/sqlite_tables.h"
#include "schema/base/sqlite_rows.h"

/// Records of the engine as rows of its tables. Only for the .cc files of the SQLite store.
namespace vms::runner {

/// Each runs its table's upsert or update and returns the rows that it changed: 0 when the guard
/// refused.
int putVm(SQLite::Statement& write, const VmRecord& vm);
int putVmDefinition(SQLite::Statement& write, const VmRecord& vm);
int putRequest(SQLite::Statement& write, const RequestRecord& request);
int putItem(SQLite::Statement& write, const ItemRecord& item);
int putRun(SQLite::Statement& write, const RunRecord& run);
int putAttempt(SQLite::Statement& write, const AttemptRecord& attempt);
/// `insert` is the numbered upsert.
int putNewAttempt(SQLite::Statement& insert, const AttemptRecord& attempt, std::int64_t number);
int putHost(SQLite::Statement& write, const HostRecord& host);
int putToken(SQLite::Statement& write, const TokenRecord& token);

/// Each reads one row of its table's columns. readVm reads those of the definition after its own.
VmRecord readVm(SQLite::Statement& row);
RequestRecord readRequest(SQLite::Statement& row);
ItemRecord readItem(SQLite::Statement& row);
RunRecord readRun(SQLite::Statement& row);
AttemptRecord readAttempt(SQLite::Statement& row);
HostRecord readHost(SQLite::Statement& row);
TokenRecord readToken(SQLite::Statement& row);

}  // namespace vms::runner
