#include "schema/base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "schema/base/unique_fd.h"

namespace vms {
namespace {

Result<void> writeAll(int fd, std::string_view content, const std::string& name) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return errnoError(errno, "cannot write " + name);
    }
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> writeDurably(const std::filesystem::path& path, std::string_view content,
                          mode_t mode) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (!fd) return errnoError(errno, "cannot create " + path.string());
  // An older leftover keeps its mode through open(), and the umask may have narrowed ours.
  if (::fchmod(fd.get(), mode) != 0)
    return errnoError(errno, "cannot set mode of " + path.string());
  if (auto written = writeAll(fd.get(), content, path.string()); !written) return written;
  if (::fsync(fd.get()) != 0) return errnoError(errno, "cannot sync " + path.string());
  return {};
}

}  // namespace

Error errnoError(int error_number, std::string_view context) {
  ErrorClass error_class = ErrorClass::Dependency;
  switch (error_number) {
    case ENOENT:
      error_class = ErrorClass::NotFound;
      break;
    case EACCES:
    case EPERM:
      error_class = ErrorClass::Forbidden;
      break;
    case ENOSPC:
    case EDQUOT:
      error_class = ErrorClass::StoreFull;
      break;
    default:
      break;
  }
  return {error_class, std::string(context) + ": " + std::generic_category().message(error_number)};
}

Result<std::string> readFile(const std::filesystem::path& path, std::size_t max_bytes) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errnoError(errno, "cannot open " + path.string());
  std::string content;
  std::array<char, 16384> block;
  for (;;) {
    const ssize_t got = ::read(fd.get(), block.data(), block.size());
    if (got < 0) {
      if (errno == EINTR) continue;
      return errnoError(errno, "cannot read " + path.string());
    }
    if (got == 0) return content;
    content.append(block.data(), static_cast<std::size_t>(got));
    if (content.size() > max_bytes) {
      return Error(ErrorClass::TooLarge, path.string() + " is larger than the allowed " +
                                             std::to_string(max_bytes) + " bytes");
    }
  }
}

Result<void> writeFileAtomically(const std::filesystem::path& path, std::string_view content,
                                 mode_t mode) {
  std::filesystem::path draft = path;
  draft += ".new";
  if (auto written = writeDurably(draft, content, mode); !written) {
    ::unlink(draft.c_str());
    return written;
  }
  if (::rename(draft.c_str(), path.c_str()) != 0) {
    Error error = errnoError(errno, "cannot rename " + draft.string() + " to " + path.string());
    ::unlink(draft.c_str());
    return error;
  }
  const std::filesystem::path folder = path.parent_path();
  return syncDirectory(folder.empty() ? std::filesystem::path(".") : folder);
}

Result<void> syncDirectory(const std::filesystem::path& folder) {
  const UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errnoError(errno, "cannot open folder " + folder.string());
  if (::fsync(fd.get()) != 0) return errnoError(errno, "cannot sync folder " + folder.string());
  return {};
}

}  // namespace vms
