#include "runner/process_figures.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "schema/base/files.h"

namespace vms::runner {
namespace {

constexpr std::size_t kMaxBytes = 64u << 10;

// Fields of /proc/self/stat behind the command, which may hold blanks; see proc(5).
constexpr std::size_t kUserTicks = 11, kSystemTicks = 12, kThreads = 17, kStartTicks = 19,
                      kVirtualBytes = 20, kResidentPages = 21, kFields = 22;

std::vector<double> readStat() {
  std::vector<double> fields;
  const Result<std::string> text = readFile("/proc/self/stat", kMaxBytes);
  if (!text) return fields;
  const std::size_t end = text->rfind(')');
  if (end == std::string::npos) return fields;
  std::istringstream in(text->substr(end + 1));
  std::string state;
  in >> state;
  fields.push_back(0);
  for (double value = 0; fields.size() < kFields && in >> value;) fields.push_back(value);
  return fields;
}

/// When the machine booted, in seconds since 1970.
double bootTime() {
  const Result<std::string> text = readFile("/proc/stat", std::size_t{1} << 20U);
  if (!text) return 0;
  const std::size_t at = text->find("\nbtime ");
  return at == std::string::npos ? 0 : std::strtod(text->c_str() + at + 7, nullptr);
}

std::uint64_t countOpenFds() {
  std::error_code error;
  std::uint64_t count = 0;
  for (std::filesystem::directory_iterator at("/proc/self/fd", error), end; !error && at != end;
       at.increment(error)) {
    ++count;
  }
  // The directory itself was one of them.
  return count > 0 ? count - 1 : 0;
}

}  // namespace

ProcessFigures readProcessFigures() {
  ProcessFigures figures;
  const std::vector<double> stat = readStat();
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  if (stat.size() == kFields && ticks > 0) {
    figures.cpu_seconds = (stat[kUserTicks] + stat[kSystemTicks]) / ticks;
    figures.threads = static_cast<std::uint64_t>(stat[kThreads]);
    figures.start_time = bootTime() + stat[kStartTicks] / ticks;
    figures.virtual_bytes = static_cast<std::uint64_t>(stat[kVirtualBytes]);
    figures.resident_bytes = static_cast<std::uint64_t>(stat[kResidentPages]) *
                             static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  }
  figures.open_fds = countOpenFds();
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) figures.max_fds = limit.rlim_cur;
  return figures;
}

}  // namespace vms::runner
