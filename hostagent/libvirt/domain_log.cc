#include "hostagent/libvirt/domain_log.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <utility>

namespace vms::hostagent {
namespace {

constexpr std::streamoff kTailMax = 256 * 1024;

StopReason reasonOf(std::string_view word) {
  constexpr std::array<std::pair<std::string_view, StopReason>, 6> kReasons = {{
      {"shutdown", StopReason::Shutdown},
      {"destroyed", StopReason::Destroyed},
      {"crashed", StopReason::Crashed},
      {"failed", StopReason::Failed},
      {"saved", StopReason::Saved},
      {"migrated", StopReason::Migrated},
  }};
  for (const auto& [name, reason] : kReasons) {
    if (name == word) return reason;
  }
  return StopReason::Unwatched;
}

}  // namespace

StopReason stopReasonInLog(std::string_view tail, VmId vm) {
  constexpr std::string_view kStart = ": starting up libvirt version";
  constexpr std::string_view kEnd = ": shutting down, reason=";
  const std::size_t start = tail.rfind(kStart);
  if (start == std::string_view::npos) return StopReason::Unwatched;
  const std::string_view life = tail.substr(start);
  if (life.find("-uuid " + vm.str()) == std::string_view::npos) return StopReason::Unwatched;
  const std::size_t end = life.rfind(kEnd);
  if (end == std::string_view::npos) return StopReason::Unwatched;
  const std::string_view rest = life.substr(end + kEnd.size());
  return reasonOf(rest.substr(0, rest.find_first_of(" \r\n")));
}

StopReason readStopReason(const std::string& directory, const std::string& name, VmId vm) {
  const bool safe = !name.empty() && name[0] != '.' && name.find('/') == std::string::npos &&
                    name.find('\0') == std::string::npos;
  if (directory.empty() || !safe) return StopReason::Unwatched;
  std::ifstream file(directory + "/" + name + ".log", std::ios::binary | std::ios::ate);
  if (!file) return StopReason::Unwatched;
  const std::streamoff size = file.tellg();
  const std::streamoff length = std::clamp<std::streamoff>(size, 0, kTailMax);
  std::string tail(static_cast<std::size_t>(length), '\0');
  file.seekg(size - length);
  file.read(tail.data(), length);
  tail.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return stopReasonInLog(tail, vm);
}

}  // namespace vms::hostagent
