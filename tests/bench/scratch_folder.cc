#include "tests/bench/scratch_folder.h"

#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>

#include "schema/base/files.h"

namespace vms::bench {

namespace fs = std::filesystem;

Result<ScratchFolder> ScratchFolder::make(const fs::path& keep) {
  std::error_code error;
  if (!keep.empty()) {
    fs::create_directories(keep, error);
    if (!error && !fs::is_empty(keep, error) && !error) {
      return Error(ErrorClass::Invalid,
                   "--keep-dir " + keep.string() + " is not empty; give a new or an empty folder");
    }
    if (error) {
      return Error(ErrorClass::Unavailable, "--keep-dir " + keep.string() +
                                                " cannot be used: " + error.message() +
                                                "; give a folder that can be written");
    }
    return ScratchFolder(fs::absolute(keep), true);
  }
  const fs::path parent = fs::temp_directory_path(error);
  std::string name = (parent / "vms-bench-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    return withContext(errnoError(errno, "no temporary folder in " + parent.string()),
                       "set TMPDIR to a folder that can be written");
  }
  return ScratchFolder(name, false);
}

ScratchFolder::ScratchFolder(ScratchFolder&& other) noexcept
    : path_(std::exchange(other.path_, {})), keep_(other.keep_) {}

ScratchFolder::~ScratchFolder() {
  if (keep_ || path_.empty()) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace vms::bench
