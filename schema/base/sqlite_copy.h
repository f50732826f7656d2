#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "schema/base/error.h"
#include "schema/base/sqlite_db.h"

namespace vms {

/// How a database is copied.
struct SqliteCopy {
  SqliteSettings source;         ///< Path, kind, application id and migrations; the rest is unused.
  std::filesystem::path target;  ///< Must not exist.
  /// Last changes of the copy, before it is checked and gets its name. Throws what SQLite throws.
  std::function<void(SQLite::Database&)> finish;
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  ///< Bytes, now and then.
  Duration pause = milliseconds(2);  ///< After each MiB: others want the disk as well.
};

/// Copies a database as it is at one moment, also while another process writes to it: neither waits
/// for the other, but the other's write-ahead log grows meanwhile. Blocking.
///
/// The copy is one file without a log, verified whole (integrity_check), durable when this returns,
/// and private to its owner. It carries the name `target`.part until then; what a crash left under
/// that name is overwritten. Invalid: `target` exists, or the source is not ours, of a newer
/// release or damaged. Busy: another copy to `target` is under way. On failure nothing is left.
Result<void> copySqlite(const SqliteCopy& copy);

}  // namespace vms
