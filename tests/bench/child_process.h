#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "schema/base/error.h"
#include "schema/base/time.h"

namespace vms::bench {

/// What the kernel has counted for a process since its start.
struct ProcessUsage {
  Duration cpu{};                    ///< User and system, all threads.
  std::uint64_t peak_rss_bytes = 0;  ///< The most resident memory, see forgetPeak().
};

/// A program of ours in a process of its own, ended at the latest with this object or this process.
class ChildProcess {
 public:
  /// `words`: the program's path and its arguments. Output goes to `log`.
  static Result<ChildProcess> start(std::vector<std::string> words,
                                    const std::filesystem::path& log,
                                    std::vector<std::string> more_environment = {});
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();

  pid_t pid() const { return pid_; }
  /// Whether it still runs. Reaps it otherwise.
  bool running();
  Result<ProcessUsage> usage() const;
  /// From now on the peak is that of what comes, beginning with what is resident now.
  Result<void> forgetPeak();
  /// SIGTERM, and SIGKILL for what has not ended within `limit`.
  void stop(Duration limit);
  /// Waits until it has ended by itself; its exit status. Deadline: it was killed.
  Result<int> wait(Duration limit);

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}
  bool reap(int flags);

  pid_t pid_ = -1;
  int status_ = 0;
};

/// Of the machine, over the last minute; -1: unknown.
double loadAverage();
/// Of this process, all threads.
double ownCpuSeconds();

/// The folder of the program that runs.
std::filesystem::path programFolder();

}  // namespace vms::bench
