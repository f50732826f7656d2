#include "tests/integration/power_cut.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <mutex>
#include <optional>

#include "schema/base/check.h"

namespace vms::test {
namespace {

constexpr std::size_t kSector = 512;

/// What is being recorded. Written from SQLite's threads and from those that rename.
struct Recording {
  std::mutex mutex;
  std::filesystem::path folder;
  Tearing tearing = Tearing::Anything;
  std::vector<DiskEvent> events;
  std::function<int(const DiskEvent&)> decide;
};
std::mutex recording_mutex;
Recording* recording = nullptr;

/// The name of `path` in the folder that is being recorded; empty: another folder.
std::string nameInFolder(const char* path) {
  if (recording == nullptr || path == nullptr) return {};
  const std::filesystem::path full(path);
  if (full.parent_path() != recording->folder) return {};
  std::string name = full.filename().string();
  // Shared memory of processes: gone with the power, whatever the disk has of it.
  if (name.ends_with("-shm")) return {};
  return name;
}

void record(DiskEvent event) {
  const std::lock_guard lock(recording_mutex);
  if (recording != nullptr) recording->events.push_back(std::move(event));
}

std::string contentOf(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// ---- a VFS that hands everything on and writes down what changes the disk

struct RecordedFile {
  sqlite3_file base;
  sqlite3_file* real;
  std::string* name;  ///< Empty: not recorded.
};

RecordedFile* self(sqlite3_file* file) { return reinterpret_cast<RecordedFile*>(file); }
sqlite3_file* real(sqlite3_file* file) { return self(file)->real; }
sqlite3_vfs* real(sqlite3_vfs* vfs) { return static_cast<sqlite3_vfs*>(vfs->pAppData); }

void recordOf(sqlite3_file* file, DiskEvent event) {
  if (self(file)->name->empty()) return;
  event.file = *self(file)->name;
  record(std::move(event));
}

int decisionOn(sqlite3_file* file, DiskEvent event) {
  if (self(file)->name->empty()) return SQLITE_OK;
  event.file = *self(file)->name;
  std::function<int(const DiskEvent&)> decide;
  {
    const std::lock_guard lock(recording_mutex);
    if (recording != nullptr) decide = recording->decide;
  }
  return decide ? decide(event) : SQLITE_OK;
}

int closeFile(sqlite3_file* file) {
  const int code = real(file)->pMethods->xClose(real(file));
  delete self(file)->name;
  return code;
}
int readFile(sqlite3_file* file, void* to, int size, sqlite3_int64 at) {
  return real(file)->pMethods->xRead(real(file), to, size, at);
}
int writeFile(sqlite3_file* file, const void* from, int size, sqlite3_int64 at) {
  const DiskEvent event{DiskEvent::Kind::Write,
                        {},
                        static_cast<std::uint64_t>(at),
                        std::string(static_cast<const char*>(from), static_cast<std::size_t>(size)),
                        0};
  if (const int refused = decisionOn(file, event); refused != SQLITE_OK) return refused;
  recordOf(file, event);
  return real(file)->pMethods->xWrite(real(file), from, size, at);
}
int truncateFile(sqlite3_file* file, sqlite3_int64 size) {
  const DiskEvent event{DiskEvent::Kind::Truncate, {}, static_cast<std::uint64_t>(size), {}, 0};
  if (const int refused = decisionOn(file, event); refused != SQLITE_OK) return refused;
  recordOf(file, event);
  return real(file)->pMethods->xTruncate(real(file), size);
}
int syncFile(sqlite3_file* file, int flags) {
  const DiskEvent event{DiskEvent::Kind::SyncFile, {}, 0, {}, 0};
  if (const int refused = decisionOn(file, event); refused != SQLITE_OK) return refused;
  const int code = real(file)->pMethods->xSync(real(file), flags);
  if (code == SQLITE_OK) recordOf(file, event);
  return code;
}
int fileSize(sqlite3_file* file, sqlite3_int64* size) {
  return real(file)->pMethods->xFileSize(real(file), size);
}
int lockFile(sqlite3_file* file, int level) {
  return real(file)->pMethods->xLock(real(file), level);
}
int unlockFile(sqlite3_file* file, int level) {
  return real(file)->pMethods->xUnlock(real(file), level);
}
int checkReserved(sqlite3_file* file, int* out) {
  return real(file)->pMethods->xCheckReservedLock(real(file), out);
}
int fileControl(sqlite3_file* file, int operation, void* argument) {
  return real(file)->pMethods->xFileControl(real(file), operation, argument);
}
int sectorSize(sqlite3_file*) { return static_cast<int>(kSector); }
int characteristics(sqlite3_file*) {
  const std::lock_guard lock(recording_mutex);
  const bool anything = recording == nullptr || recording->tearing == Tearing::Anything;
  return anything ? 0 : SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}
int shmMap(sqlite3_file* file, int page, int size, int extend, void volatile** out) {
  return real(file)->pMethods->xShmMap(real(file), page, size, extend, out);
}
int shmLock(sqlite3_file* file, int offset, int count, int flags) {
  return real(file)->pMethods->xShmLock(real(file), offset, count, flags);
}
void shmBarrier(sqlite3_file* file) { real(file)->pMethods->xShmBarrier(real(file)); }
int shmUnmap(sqlite3_file* file, int remove) {
  return real(file)->pMethods->xShmUnmap(real(file), remove);
}

const sqlite3_io_methods* methods() {
  static const sqlite3_io_methods kMethods = [] {
    sqlite3_io_methods all{};
    all.iVersion = 2;
    all.xClose = closeFile;
    all.xRead = readFile;
    all.xWrite = writeFile;
    all.xTruncate = truncateFile;
    all.xSync = syncFile;
    all.xFileSize = fileSize;
    all.xLock = lockFile;
    all.xUnlock = unlockFile;
    all.xCheckReservedLock = checkReserved;
    all.xFileControl = fileControl;
    all.xSectorSize = sectorSize;
    all.xDeviceCharacteristics = characteristics;
    all.xShmMap = shmMap;
    all.xShmLock = shmLock;
    all.xShmBarrier = shmBarrier;
    all.xShmUnmap = shmUnmap;
    return all;
  }();
  return &kMethods;
}

int openFile(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  RecordedFile* const recorded = self(file);
  recorded->base.pMethods = nullptr;
  recorded->real = reinterpret_cast<sqlite3_file*>(recorded + 1);
  const int code = real(vfs)->xOpen(real(vfs), path, recorded->real, flags, out_flags);
  if (code != SQLITE_OK) return code;
  const std::lock_guard lock(recording_mutex);
  recorded->name = new std::string(nameInFolder(path));
  recorded->base.pMethods = methods();
  return code;
}

int deleteFile(sqlite3_vfs* vfs, const char* path, int sync_folder) {
  const int code = real(vfs)->xDelete(real(vfs), path, sync_folder);
  if (code != SQLITE_OK) return code;
  std::string name;
  {
    const std::lock_guard lock(recording_mutex);
    name = nameInFolder(path);
  }
  if (!name.empty()) {
    record({DiskEvent::Kind::Delete, name, 0, {}, 0});
    if (sync_folder != 0) record({DiskEvent::Kind::SyncFolder, {}, 0, {}, 0});
  }
  return code;
}

sqlite3_vfs* recordingVfs() {
  static sqlite3_vfs vfs = [] {
    sqlite3_vfs* const base = sqlite3_vfs_find(nullptr);
    sqlite3_vfs copy = *base;
    copy.zName = "recording";
    copy.pNext = nullptr;
    copy.pAppData = base;
    copy.szOsFile = static_cast<int>(sizeof(RecordedFile)) + base->szOsFile;
    copy.xOpen = openFile;
    copy.xDelete = deleteFile;
    // The rest knows neither its VFS nor our files: the base's functions serve as they are.
    return copy;
  }();
  return &vfs;
}

// ---- a disk

/// One name in the folder.
struct File {
  std::string durable;
  std::vector<DiskEvent> pending;  ///< Writes and truncations since the last sync.
  bool name_durable = false;
  /// What the name stood for while that is not yet undone for ever; empty: nothing.
  std::optional<std::string> before;
  bool gone = false;  ///< Deleted.
};

void write(std::string& content, std::uint64_t at, std::string_view bytes) {
  if (content.size() < at + bytes.size()) content.resize(at + bytes.size(), '\0');
  content.replace(at, bytes.size(), bytes);
}

void applyWhole(std::string& content, const DiskEvent& event) {
  if (event.kind == DiskEvent::Kind::Truncate) {
    content.resize(event.at, '\0');
  } else {
    write(content, event.at, event.bytes);
  }
}

/// Each sector that the write touches comes through or not.
void applyTorn(std::string& content, const DiskEvent& event, double chance, Rng& rng) {
  if (event.kind == DiskEvent::Kind::Truncate) {
    if (rng.chance(chance)) applyWhole(content, event);
    return;
  }
  std::uint64_t at = event.at;
  std::string_view left = event.bytes;
  while (!left.empty()) {
    const std::size_t size = std::min<std::size_t>(left.size(), kSector - at % kSector);
    if (rng.chance(chance)) write(content, at, left.substr(0, size));
    at += size;
    left.remove_prefix(size);
  }
}

std::optional<std::string> afterCut(const File& file, Unsynced unsynced, Rng& rng) {
  const bool torn = unsynced == Unsynced::Torn;
  const bool kept = unsynced == Unsynced::Kept;
  const auto survives = [&] { return kept || (torn && rng.chance(0.5)); };
  if (file.gone) return survives() ? std::nullopt : file.before;
  if (!file.name_durable && !survives()) return file.before;
  std::string content = file.durable;
  // From hardly anything to nearly everything, so that commits are often only just incomplete.
  const double chance = torn ? static_cast<double>(1 + rng.below(9)) / 10.0 : kept ? 1.0 : 0.0;
  for (const DiskEvent& event : file.pending) {
    if (kept) applyWhole(content, event);
    if (torn) applyTorn(content, event, chance, rng);
  }
  return content;
}

}  // namespace

DiskRecorder::DiskRecorder(const std::filesystem::path& folder, Tearing tearing) {
  {
    const std::lock_guard lock(recording_mutex);
    VMS_CHECK(recording == nullptr, "one recorder at a time");
    recording = new Recording;
    recording->folder = folder;
    recording->tearing = tearing;
  }
  // As the default, because production opens its files without naming a VFS.
  VMS_CHECK(sqlite3_vfs_register(recordingVfs(), 1) == SQLITE_OK, "SQLite takes the VFS");
}

DiskRecorder::~DiskRecorder() {
  sqlite3_vfs_unregister(recordingVfs());
  sqlite3_vfs_register(real(recordingVfs()), 1);
  const std::lock_guard lock(recording_mutex);
  delete recording;
  recording = nullptr;
}

void DiskRecorder::note(std::uint64_t number) {
  record({DiskEvent::Kind::Note, {}, 0, {}, number});
}

void DiskRecorder::decideBy(std::function<int(const DiskEvent&)> decide) {
  const std::lock_guard lock(recording_mutex);
  recording->decide = std::move(decide);
}

std::vector<DiskEvent> DiskRecorder::events() const {
  const std::lock_guard lock(recording_mutex);
  return recording->events;
}

std::map<std::string, std::string> filesAfter(const std::vector<DiskEvent>& events,
                                              const PowerCut& cut, Rng& rng) {
  std::map<std::string, File> disk;
  for (std::size_t i = 0; i < cut.after; ++i) {
    const DiskEvent& event = events[i];
    switch (event.kind) {
      case DiskEvent::Kind::Write:
      case DiskEvent::Kind::Truncate: {
        File& file = disk[event.file];
        if (file.gone) {
          const std::optional<std::string> before = file.before;
          file = File();
          file.before = before;
        }
        file.pending.push_back(event);
        break;
      }
      case DiskEvent::Kind::SyncFile: {
        if (!cut.syncs_work) break;
        File& file = disk[event.file];
        for (const DiskEvent& pending : file.pending) applyWhole(file.durable, pending);
        file.pending.clear();
        file.name_durable = true;
        file.before.reset();
        break;
      }
      case DiskEvent::Kind::SyncFolder:
        if (!cut.syncs_work) break;
        for (auto& [name, file] : disk) {
          file.name_durable = true;
          file.before.reset();
        }
        break;
      case DiskEvent::Kind::Rename: {
        File& file = disk[event.file];
        File named;
        if (file.name_durable && !file.gone) named.before = file.durable;
        if (!file.name_durable) named.before = file.before;
        named.durable = event.bytes;
        file = std::move(named);
        break;
      }
      case DiskEvent::Kind::Delete: {
        File& file = disk[event.file];
        File gone;
        gone.gone = true;
        if (file.name_durable && !file.gone) gone.before = file.durable;
        if (!file.name_durable) gone.before = file.before;
        file = std::move(gone);
        break;
      }
      case DiskEvent::Kind::Note:
        break;
    }
  }
  std::map<std::string, std::string> files;
  for (const auto& [name, file] : disk) {
    if (auto content = afterCut(file, cut.unsynced, rng)) files.emplace(name, std::move(*content));
  }
  return files;
}

std::vector<PowerCut> powerCuts(const std::vector<DiskEvent>& events, std::size_t count, Rng& rng) {
  std::vector<PowerCut> at_syncs;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const bool sync = events[i].kind == DiskEvent::Kind::SyncFile ||
                      events[i].kind == DiskEvent::Kind::SyncFolder ||
                      events[i].kind == DiskEvent::Kind::Rename;
    if (!sync) continue;
    for (const std::size_t after : {i, i + 1}) {
      for (const Unsynced unsynced : {Unsynced::Lost, Unsynced::Kept, Unsynced::Torn}) {
        at_syncs.push_back({after, unsynced});
      }
    }
  }
  std::vector<PowerCut> cuts;
  while (cuts.size() < count / 2 && !at_syncs.empty()) {
    const std::size_t chosen = rng.below(at_syncs.size());
    cuts.push_back(at_syncs[chosen]);
    at_syncs[chosen] = at_syncs.back();
    at_syncs.pop_back();
  }
  while (cuts.size() < count) {
    cuts.push_back({static_cast<std::size_t>(rng.below(events.size() + 1)), Unsynced::Torn});
  }
  return cuts;
}

std::uint64_t lastNote(const std::vector<DiskEvent>& events, const PowerCut& cut) {
  std::uint64_t last = 0;
  for (std::size_t i = 0; i < cut.after; ++i) {
    if (events[i].kind == DiskEvent::Kind::Note) last = std::max(last, events[i].note);
  }
  return last;
}

}  // namespace vms::test

// In place of the C library's for this whole program: they do the same, and are written down.

extern "C" int rename(const char* from, const char* to) {
  std::string name;
  {
    const std::lock_guard lock(vms::test::recording_mutex);
    name = vms::test::nameInFolder(to);
  }
  vms::test::DiskEvent event{vms::test::DiskEvent::Kind::Rename, name, 0, {}, 0};
  if (!name.empty()) event.bytes = vms::test::contentOf(from);
  const long code = ::syscall(SYS_rename, from, to);
  if (code == 0 && !name.empty()) vms::test::record(std::move(event));
  return static_cast<int>(code);
}

extern "C" int fsync(int fd) {
  const long code = ::syscall(SYS_fsync, fd);
  struct stat status {};
  if (code == 0 && ::fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
    vms::test::record({vms::test::DiskEvent::Kind::SyncFolder, {}, 0, {}, 0});
  }
  return static_cast<int>(code);
}
