#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include "hostagent/claim_journal.h"

namespace vms::hostagent {

/// Writes journal changes through prepared statements, inside a transaction of the caller. Of one
/// thread at a time. Throws what SQLite throws.
class JournalWriter {
 public:
  /// `connection` outlives this.
  explicit JournalWriter(SQLite::Database& connection);

  void put(const JournalChange& change);

 private:
  void put(const PutClaim& change);
  void put(const DropClaim& change);
  void put(const PutFloor& change);
  void put(const DropFloor& change);
  void put(const PutMarks& change);

  SQLite::Statement claim_, document_, drop_claim_, drop_document_, floor_, drop_floor_, marks_;
};

/// Everything in the journal. Throws what SQLite throws.
JournalContents readJournal(SQLite::Database& connection);

}  // namespace vms::hostagent
