#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <cstddef>
#include <unordered_map>

#include "runner/records.h"
#include "runner/sqlite_attempt_rows.h"
#include "runner/state_memory.h"

namespace vms::runner {

/// Writes changes through prepared statements, inside a transaction of the caller. Of one thread at
/// a time.
///
/// A change that breaks a rule of the model is a bug of ours and ends the process before anything
/// of its transaction is durable: an illegal state transition, a VM's epoch that goes down, an
/// attempt that changes its VM, epoch, host, request, reason or time.
class SqliteWriter {
 public:
  /// `connection` outlives this.
  explicit SqliteWriter(SQLite::Database& connection);

  /// Throws what SQLite throws; then, or if the transaction fails, rolledBack() must follow.
  void put(const Change& change);
  void committed();
  void rolledBack();

 private:
  void put(const VmRecord& vm);
  void put(const VmEpochRecord& vm);
  void put(const RequestRecord& request);
  void put(const ItemRecord& item);
  void put(const RunRecord& run);
  void put(const AttemptRecord& attempt);
  void put(const HostRecord& host);
  void put(const TokenRecord& token);

  bool sameDefinition(const VmRecord& vm);

  SQLite::Statement vm_, update_vm_, epoch_, same_definition_, definition_, vm_name_;
  SQLite::Statement request_, item_, run_, update_run_, run_state_;
  SQLite::Statement attempt_, update_attempt_, attempt_state_, host_, token_;
  AttemptRows attempt_rows_;
  /// Hashes of the durable definitions that were met.
  std::unordered_map<Uuid, std::size_t> definitions_;
  StateMemory<RunState> runs_;
  StateMemory<AttemptState> attempts_;
};

}  // namespace vms::runner
