#include "tests/bench/child_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <utility>

#include "schema/base/files.h"
#include "schema/base/unique_fd.h"
#include "tests/bench/interrupt.h"

namespace vms::bench {
namespace {

std::vector<char*> pointersTo(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// In the child, between fork and exec: only calls that are safe there.
[[noreturn]] void become(char* const* argv, char* const* environment, int log, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  // What is ignored here would be ignored there.
  ::signal(SIGPIPE, SIG_DFL);
  // A group of its own, so that Ctrl-C reaches us and we end it in order.
  ::setpgid(0, 0);
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, STDIN_FILENO);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::execve(argv[0], argv, environment);
  ::_exit(127);
}

}  // namespace

Result<ChildProcess> ChildProcess::start(std::vector<std::string> words,
                                         const std::filesystem::path& log,
                                         std::vector<std::string> more_environment) {
  if (::access(words[0].c_str(), X_OK) != 0) {
    return withContext(errnoError(errno, words[0]), "build the program first");
  }
  const UniqueFd output(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!output) return errnoError(errno, log.string());
  std::vector<std::string> environment = std::move(more_environment);
  for (char** each = environ; *each != nullptr; ++each) environment.emplace_back(*each);
  const std::vector<char*> argv = pointersTo(words);
  const std::vector<char*> envp = pointersTo(environment);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return errnoError(errno, "no process for " + words[0]);
  if (pid == 0) become(argv.data(), envp.data(), output.get(), parent);
  return ChildProcess(pid);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), status_(other.status_) {}

ChildProcess::~ChildProcess() { stop(seconds(6)); }

bool ChildProcess::reap(int flags) {
  if (pid_ <= 0) return true;
  int status = 0;
  const pid_t got = ::waitpid(pid_, &status, flags);
  if (got == 0 || (got < 0 && errno == EINTR)) return false;
  status_ = status;
  pid_ = -1;
  return true;
}

bool ChildProcess::running() { return !reap(WNOHANG); }

Result<ProcessUsage> ChildProcess::usage() const {
  ProcessUsage usage;
  clockid_t clock{};
  timespec spent{};
  if (pid_ <= 0 || ::clock_getcpuclockid(pid_, &clock) != 0 ||
      ::clock_gettime(clock, &spent) != 0) {
    return Error(ErrorClass::Unavailable, "a process ended while it was measured; see its log");
  }
  usage.cpu = seconds(spent.tv_sec) + Duration(spent.tv_nsec);
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  std::string word;
  while (status >> word) {
    if (word != "VmHWM:") continue;
    status >> usage.peak_rss_bytes;
    usage.peak_rss_bytes *= 1024;
    break;
  }
  return usage;
}

Result<void> ChildProcess::forgetPeak() {
  const std::string path = "/proc/" + std::to_string(pid_) + "/clear_refs";
  std::ofstream file(path);
  file << "5" << std::flush;
  if (!file) return Error(ErrorClass::Unavailable, path + " cannot be written");
  return {};
}

void ChildProcess::stop(Duration limit) {
  if (!running()) return;
  ::kill(pid_, SIGTERM);
  static_cast<void>(wait(limit));
}

Result<int> ChildProcess::wait(Duration limit) {
  constexpr Duration kLook = milliseconds(5);
  for (Duration waited{};; waited += kLook) {
    if (!running()) return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
    if (waited >= limit) break;
    const timespec pause{0, kLook.count()};
    ::nanosleep(&pause, nullptr);
  }
  const pid_t pid = pid_;
  ::kill(pid, SIGKILL);
  while (!reap(0)) {
  }
  return Error(ErrorClass::Deadline, "process " + std::to_string(pid) + " did not end within " +
                                         formatDuration(limit) + " and was killed; see its log");
}

double loadAverage() {
  double load = 0;
  return ::getloadavg(&load, 1) == 1 ? load : -1;
}

double ownCpuSeconds() {
  timespec spent{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) / 1e9;
}

std::filesystem::path programFolder() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return self.parent_path();
}

}  // namespace vms::bench
