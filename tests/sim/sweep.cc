#include "tests/sim/sweep.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <vector>

#include "schema/base/check.h"

namespace vms::sim {

namespace {

/// A child that runs the seeds first, first + jobs, ... and writes a line about each.
struct Worker {
  pid_t pid = -1;
  std::FILE* lines = nullptr;
  std::uint64_t next = 0;  ///< The seed whose line comes next.
};

std::string lineOf(const SeedResult& result, std::uint64_t hash) {
  std::ostringstream line;
  line << result.seed << ' ' << (result.violation ? 1 : 0) << ' ' << result.runs << ' '
       << result.starts << ' ' << result.crashes << ' ' << result.events << ' ' << result.virtual_s
       << ' ' << hash << ' ' << result.faults.size();
  for (const auto& [kind, count] : result.faults) line << ' ' << kind << ' ' << count;
  line << '\n';
  return line.str();
}

void report(const SweepOptions& options, const SeedOptions& seed, const SeedResult& result) {
  std::printf("seed %" PRIu64 ": %s at %s: %s\n", seed.seed, result.violation->checker.c_str(),
              formatVirtual(result.violation->at).c_str(), result.violation->message.c_str());
  std::printf("  replay: %s\n", replayCommand(seed).c_str());
  std::fflush(stdout);
  if (!options.shrink) return;
  const SeedOptions small = shrinkSeed(seed, result);
  std::printf("  smallest: %s\n", replayCommand(small).c_str());
  std::fflush(stdout);
}

[[noreturn]] void work(const SweepOptions& options, std::uint64_t first, int out) {
  for (std::uint64_t number = first; number <= options.last; number += options.jobs) {
    SeedOptions seed = options.seed;
    seed.seed = number;
    const SeedResult result = runSeed(seed);
    if (options.print_hash) {
      std::printf("seed %" PRIu64 " hash %016" PRIx64 "\n", number, result.hash);
      std::fflush(stdout);
    }
    const std::string line = lineOf(result, result.hash);
    const ssize_t written = ::write(out, line.data(), line.size());
    if (written != static_cast<ssize_t>(line.size())) std::_Exit(3);
    if (result.violation) report(options, seed, result);
  }
  std::fflush(stdout);
  std::_Exit(0);
}

Worker startWorker(const SweepOptions& options, std::uint64_t first) {
  int ends[2];
  VMS_CHECK(::pipe(ends) == 0, "cannot make a pipe");
  std::fflush(stdout);
  Worker worker;
  worker.next = first;
  worker.pid = ::fork();
  VMS_CHECK(worker.pid >= 0, "cannot fork");
  if (worker.pid == 0) {
    ::close(ends[0]);
    work(options, first, ends[1]);
  }
  ::close(ends[1]);
  worker.lines = ::fdopen(ends[0], "r");
  return worker;
}

void failed(SweepResult& sweep, std::uint64_t seed) {
  ++sweep.failed;
  if (!sweep.first_failed_seed || seed < *sweep.first_failed_seed) sweep.first_failed_seed = seed;
}

/// Takes the worker's next line; false when there is none any more.
bool takeLine(SweepResult& sweep, Worker& worker, std::uint64_t jobs) {
  char buffer[4096];
  if (std::fgets(buffer, sizeof buffer, worker.lines) == nullptr) return false;
  std::istringstream line(buffer);
  std::uint64_t seed = 0, bad = 0, runs = 0, starts = 0, crashes = 0, events = 0, hash = 0;
  double virtual_s = 0;
  std::size_t kinds = 0;
  line >> seed >> bad >> runs >> starts >> crashes >> events >> virtual_s >> hash >> kinds;
  for (std::size_t i = 0; i < kinds; ++i) {
    std::string kind;
    std::uint64_t count = 0;
    line >> kind >> count;
    sweep.faults[kind] += count;
  }
  ++sweep.seeds;
  if (bad != 0) failed(sweep, seed);
  sweep.runs += runs;
  sweep.starts += starts;
  sweep.crashes += crashes;
  sweep.events += events;
  sweep.virtual_s += virtual_s;
  worker.next = seed + jobs;
  return true;
}

}  // namespace

SweepResult runSweep(const SweepOptions& options) {
  SweepResult sweep;
  std::vector<Worker> workers;
  for (std::uint64_t i = 0; i < options.jobs && options.first + i <= options.last; ++i) {
    workers.push_back(startWorker(options, options.first + i));
  }
  for (Worker& worker : workers) {
    for (;;) {
      if (takeLine(sweep, worker, options.jobs)) continue;
      std::fclose(worker.lines);
      int status = 0;
      ::waitpid(worker.pid, &status, 0);
      const bool died = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
      if (!died || worker.next > options.last) break;
      SeedOptions seed = options.seed;
      seed.seed = worker.next;
      std::printf("seed %" PRIu64
                  ": the process died (%s %d); a check in the code failed\n"
                  "  replay: %s\n",
                  seed.seed, WIFSIGNALED(status) ? "signal" : "status",
                  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
                  replayCommand(seed).c_str());
      ++sweep.seeds;
      failed(sweep, worker.next);
      if (worker.next + options.jobs > options.last) break;
      worker = startWorker(options, worker.next + options.jobs);
    }
  }
  return sweep;
}

}  // namespace vms::sim
