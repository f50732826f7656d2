#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "schema/base/rng.h"

/// What a disk may hold after the power went: for tests of what must survive it.
namespace vms::test {

/// Everything that happened to the files of one folder, in order.
struct DiskEvent {
  enum class Kind {
    Write,
    Truncate,
    SyncFile,    ///< Also makes the file's name durable.
    SyncFolder,  ///< Makes names durable: renames and deletions.
    Rename,
    Delete,
    Note,  ///< Of the test: what it has been told by then.
  };
  Kind kind;
  std::string file;        ///< Its name in the folder.
  std::uint64_t at = 0;    ///< Of a write; the new size of a truncation.
  std::string bytes;       ///< Of a write; the source's whole content of a rename.
  std::uint64_t note = 0;  ///< Of a note.
};

/// What SQLite may expect of a write that is cut off.
enum class Tearing {
  Anything,     ///< Also what lies beside it: SQLite pads its log to whole sectors.
  OnlyWritten,  ///< As SQLite takes it for granted with files on Unix.
};

/// Records what SQLite (through a VFS around the default one) and this process's renames and syncs
/// do to the files in `folder`, for as long as this lives. One at a time.
class DiskRecorder {
 public:
  explicit DiskRecorder(const std::filesystem::path& folder, Tearing tearing = Tearing::Anything);
  ~DiskRecorder();
  DiskRecorder(const DiskRecorder&) = delete;
  DiskRecorder& operator=(const DiskRecorder&) = delete;

  void note(std::uint64_t number);
  /// `decide` is called before each write, truncation and sync of a recorded file, on SQLite's
  /// thread. SQLite gets its code; unless that is SQLITE_OK nothing is done or recorded.
  void decideBy(std::function<int(const DiskEvent&)> decide);
  /// Everything so far.
  std::vector<DiskEvent> events() const;
};

/// Which sectors of what was not synced survive.
enum class Unsynced { Lost, Kept, Torn };

struct PowerCut {
  std::size_t after = 0;  ///< So many events have happened.
  Unsynced unsynced = Unsynced::Lost;
  bool syncs_work = true;  ///< False: a disk that lies, for testing the tests.
};

/// The folder's files as a disk may hold them after the cut; `rng` chooses what survives of what
/// was not synced, sector by sector.
std::map<std::string, std::string> filesAfter(const std::vector<DiskEvent>& events,
                                              const PowerCut& cut, Rng& rng);

/// `count` of the cuts that there are: half of them on both sides of syncs and renames, where most
/// is at stake, the others anywhere, torn.
std::vector<PowerCut> powerCuts(const std::vector<DiskEvent>& events, std::size_t count, Rng& rng);

/// The highest number that was noted before the cut; 0 without.
std::uint64_t lastNote(const std::vector<DiskEvent>& events, const PowerCut& cut);

}  // namespace vms::test
