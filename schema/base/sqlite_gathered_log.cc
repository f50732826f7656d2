#include "schema/base/sqlite_gathered_log.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <list>
#include <memory>
#include <mutex>
#include <new>

#include "schema/base/check.h"

namespace vms {
namespace {

/// Of a frame in the log, as SQLite's file format tells: the number of its page, and then the
/// database's size in pages if it is the last one of a transaction, else zero.
constexpr int kFrameHeaderBytes = 24;
constexpr int kCommitMarkAt = 4;
constexpr int kCommitMarkBytes = 4;
/// SQLite's VFS for Unix writes no more than 128 KiB at once.
constexpr std::size_t kGatheredBytes = 64 << 10;

/// A write-ahead log, at the beginning of the memory that SQLite gives for one of its files; the
/// real file is right behind it.
struct LogFile : sqlite3_file {
  sqlite3_file* real = nullptr;
  std::unique_ptr<std::array<char, kGatheredBytes>> gathered;
  std::size_t size = 0;     ///< So much of it is gathered; nothing unless `gathers`.
  sqlite3_int64 begin = 0;  ///< Where that belongs in the file.
  bool gathers = false;     ///< In a commit, up to the frame with its mark.
  bool marked = false;      ///< The last write was that frame's header, the next one is its page.

  /// A used up quota is a full disk. SQLite would tell it as any other error, of which its result
  /// of COMMIT does not keep the number.
  int writeOn(const void* from, int count, sqlite3_int64 at) const {
    errno = 0;
    const int code = real->pMethods->xWrite(real, from, count, at);
    return code == SQLITE_IOERR_WRITE && errno == EDQUOT ? SQLITE_FULL : code;
  }

  void start() {
    gathers = true;
    marked = false;
  }

  /// What is still gathered is forgotten.
  void stop() {
    gathers = false;
    size = 0;
  }

  int handOn() {
    if (size == 0) return SQLITE_OK;
    const int code = writeOn(gathered->data(), static_cast<int>(size), begin);
    size = 0;
    if (code != SQLITE_OK) stop();
    return code;
  }

  int write(const void* from, int count, sqlite3_int64 at) {
    if (!gathers) return writeOn(from, count, at);
    const auto bytes = static_cast<std::size_t>(count);
    const bool continues = at == begin + static_cast<sqlite3_int64>(size);
    if (!continues || bytes > kGatheredBytes - size) {
      if (const int code = handOn(); code != SQLITE_OK) return code;
    }
    const bool ends = marked;
    marked = hasCommitMark(from, count);
    if (ends) gathers = false;
    if (bytes > kGatheredBytes) return writeOn(from, count, at);
    if (size == 0) begin = at;
    std::memcpy(gathered->data() + size, from, bytes);
    size += bytes;
    return ends ? handOn() : SQLITE_OK;
  }

  static bool hasCommitMark(const void* from, int count) {
    if (count != kFrameHeaderBytes) return false;
    const char* const mark = static_cast<const char*>(from) + kCommitMarkAt;
    return std::any_of(mark, mark + kCommitMarkBytes, [](char byte) { return byte != 0; });
  }
};

LogFile& logOf(sqlite3_file* file) { return *static_cast<LogFile*>(file); }

/// A method of the real file.
template <auto kMethod, class Signature = decltype(kMethod)>
struct OfReal;
template <auto kMethod, class... Arguments>
struct OfReal<kMethod, int (*sqlite3_io_methods::*)(sqlite3_file*, Arguments...)> {
  static int call(sqlite3_file* file, Arguments... arguments) {
    sqlite3_file* const real = logOf(file).real;
    return (real->pMethods->*kMethod)(real, arguments...);
  }
  static int callAfterGathered(sqlite3_file* file, Arguments... arguments) {
    if (const int code = logOf(file).handOn(); code != SQLITE_OK) return code;
    return call(file, arguments...);
  }
};

int writeLog(sqlite3_file* file, const void* from, int count, sqlite3_int64 at) {
  return logOf(file).write(from, count, at);
}

int closeLog(sqlite3_file* file) {
  LogFile& log = logOf(file);
  const int handed_on = log.handOn();
  const int closed = log.real->pMethods->xClose(log.real);
  log.~LogFile();
  return handed_on != SQLITE_OK ? handed_on : closed;
}

/// Version 1: memory that is shared or mapped is a matter of the database's own file.
constexpr sqlite3_io_methods kLogMethods = {
    1,
    closeLog,
    OfReal<&sqlite3_io_methods::xRead>::callAfterGathered,
    writeLog,
    OfReal<&sqlite3_io_methods::xTruncate>::callAfterGathered,
    OfReal<&sqlite3_io_methods::xSync>::callAfterGathered,
    OfReal<&sqlite3_io_methods::xFileSize>::callAfterGathered,
    OfReal<&sqlite3_io_methods::xLock>::call,
    OfReal<&sqlite3_io_methods::xUnlock>::call,
    OfReal<&sqlite3_io_methods::xCheckReservedLock>::call,
    OfReal<&sqlite3_io_methods::xFileControl>::callAfterGathered,
    OfReal<&sqlite3_io_methods::xSectorSize>::call,
    OfReal<&sqlite3_io_methods::xDeviceCharacteristics>::call,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr};

sqlite3_vfs* baseOf(sqlite3_vfs* vfs) { return static_cast<sqlite3_vfs*>(vfs->pAppData); }

int openFile(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  sqlite3_vfs* const base = baseOf(vfs);
  if ((flags & SQLITE_OPEN_WAL) == 0) return base->xOpen(base, path, file, flags, out_flags);
  void* const memory = file;
  auto* const log = new (memory) LogFile;
  log->pMethods = nullptr;  // Until it is open: SQLite closes whatever has methods.
  log->real = static_cast<sqlite3_file*>(static_cast<void*>(log + 1));
  log->real->pMethods = nullptr;
  log->gathered.reset(new (std::nothrow) std::array<char, kGatheredBytes>);
  int code = SQLITE_NOMEM;
  if (log->gathered) code = base->xOpen(base, path, log->real, flags, out_flags);
  if (code == SQLITE_OK) {
    log->pMethods = &kLogMethods;
    return code;
  }
  if (log->real->pMethods != nullptr) log->real->pMethods->xClose(log->real);
  log->~LogFile();
  return code;
}

/// The base's function, which is given the base itself: it may know only that one.
template <auto kFunction, class Signature = decltype(kFunction)>
struct OfBase;
template <auto kFunction, class Result, class... Arguments>
struct OfBase<kFunction, Result (*sqlite3_vfs::*)(sqlite3_vfs*, Arguments...)> {
  static Result call(sqlite3_vfs* vfs, Arguments... arguments) {
    sqlite3_vfs* const base = baseOf(vfs);
    return (base->*kFunction)(base, arguments...);
  }
  static void putInto(sqlite3_vfs& vfs) {
    if (vfs.*kFunction != nullptr) vfs.*kFunction = call;
  }
};

template <auto... kFunctions>
void passOn(sqlite3_vfs& vfs) {
  (OfBase<kFunctions>::putInto(vfs), ...);
}

struct GatheredLogVfs {
  std::string name;
  sqlite3_vfs vfs;
};

void wrap(sqlite3_vfs& base, GatheredLogVfs& wrapper) {
  sqlite3_vfs& vfs = wrapper.vfs;
  vfs = base;
  vfs.zName = wrapper.name.c_str();
  vfs.pNext = nullptr;
  vfs.pAppData = &base;
  vfs.szOsFile = static_cast<int>(sizeof(LogFile)) + base.szOsFile;
  vfs.xOpen = openFile;
  passOn<&sqlite3_vfs::xDelete, &sqlite3_vfs::xAccess, &sqlite3_vfs::xFullPathname,
         &sqlite3_vfs::xDlOpen, &sqlite3_vfs::xDlError, &sqlite3_vfs::xDlSym,
         &sqlite3_vfs::xDlClose, &sqlite3_vfs::xRandomness, &sqlite3_vfs::xSleep,
         &sqlite3_vfs::xCurrentTime, &sqlite3_vfs::xGetLastError>(vfs);
  if (vfs.iVersion >= 2) passOn<&sqlite3_vfs::xCurrentTimeInt64>(vfs);
  if (vfs.iVersion >= 3) {
    passOn<&sqlite3_vfs::xSetSystemCall, &sqlite3_vfs::xGetSystemCall,
           &sqlite3_vfs::xNextSystemCall>(vfs);
  }
}

/// Null: the log of `connection` is not open, or not one of ours.
LogFile* logOf(sqlite3* connection) {
  sqlite3_file* file = nullptr;
  sqlite3_file_control(connection, nullptr, SQLITE_FCNTL_JOURNAL_POINTER,
                       static_cast<void*>(&file));
  return file != nullptr && file->pMethods == &kLogMethods ? &logOf(file) : nullptr;
}

}  // namespace

std::string gatheredLogVfs() {
  static std::mutex mutex;
  // Never destroyed: SQLite keeps them, and connections may outlive static objects.
  static auto& all = *new std::list<GatheredLogVfs>;
  const std::lock_guard lock(mutex);
  sqlite3_vfs* const base = sqlite3_vfs_find(nullptr);
  VMS_CHECK(base != nullptr, "SQLite has a VFS");
  for (const GatheredLogVfs& known : all) {
    if (known.vfs.pAppData == base || &known.vfs == base) return known.name;
  }
  GatheredLogVfs& added = all.emplace_back();
  added.name = "gathered-log-" + std::to_string(all.size());
  wrap(*base, added);
  VMS_CHECK(sqlite3_vfs_register(&added.vfs, 0) == SQLITE_OK, "SQLite takes the VFS");
  return added.name;
}

GatheredCommit::GatheredCommit(sqlite3* connection) : connection_(connection) {
  if (LogFile* const log = logOf(connection_)) log->start();
}

GatheredCommit::~GatheredCommit() {
  if (LogFile* const log = logOf(connection_)) log->stop();
}

}  // namespace vms
