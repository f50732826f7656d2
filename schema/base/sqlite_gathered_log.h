#pragma once

#include <string>

struct sqlite3;

/// Fewer and larger writes of a commit into SQLite's write-ahead log.
///
/// SQLite writes each page of a commit by two calls: a frame's header of 24 bytes, and the page. A
/// connection that is opened with gatheredLogVfs() gathers them in memory while a GatheredCommit
/// lives, and hands them on in pieces of up to 64 KiB, in the order of SQLite's own writes.
///
/// Why nobody can tell: a frame counts only if one with a commit mark follows, which is the last of
/// a transaction. With its page everything is handed on, and from there on all goes straight to the
/// file. Only later does SQLite sync the log and tell other connections of the frames (in the
/// wal-index), so whoever looks for them finds them. Until then the file is as it would be if
/// SQLite had come less far. A killed process loses what it had gathered, which was of a commit
/// that nobody had been told of.
///
/// A write that fails late (a full disk) is reported to the write, or read or sync, that handed it
/// on; COMMIT fails and is rolled back as if its own write had failed. What could not be handed on
/// is forgotten, for other writers may use that place as soon as the transaction is over.
namespace vms {

/// The name of a VFS around the one that is SQLite's default now, for a connection that writes.
/// It differs from the default only in how it writes to write-ahead logs, and in that a quota that
/// is used up there is a full disk (SQLITE_FULL). From any thread.
std::string gatheredLogVfs();

/// Gathers what `connection`, opened with gatheredLogVfs(), writes to its log. It lives for just
/// one COMMIT: what it would leave is forgotten.
class GatheredCommit {
 public:
  explicit GatheredCommit(sqlite3* connection);
  ~GatheredCommit();
  GatheredCommit(const GatheredCommit&) = delete;
  GatheredCommit& operator=(const GatheredCommit&) = delete;

 private:
  sqlite3* connection_;
};

}  // namespace vms
