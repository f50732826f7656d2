#include "tests/sim/sweep.h"

#include <poll.h>
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
  int lines = -1;          ///< The end of the pipe that it writes to.
  std::string received;    ///< ... of which no whole line has come yet.
  std::uint64_t next = 0;  ///< The seed whose line comes next.
};

std::string lineOf(const SeedResult& result, std::uint64_t hash) {
  std::ostringstream line;
  line << result.seed << ' ' << (result.violation ? 1 : 0) << ' ' << result.runs << ' '
       << result.starts << ' ' << result.crashes << ' ' << result.events << ' ' << result.virtual_s
       << ' ' << hash << ' ' << result.faults.size();
  for (const auto& [kind, count] : result.faults) line << ' ' << kind << ' ' << count;
  const std::vector<std::string> edges = allEdges();
  for (std::size_t i = 0; i < edges.size(); ++i) {
    if (result.edges.count(edges[i]) > 0) line << ' ' << i;
  }
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
    if (result.violation && options.first_only) break;
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
  worker.lines = ends[0];
  return worker;
}

void failed(SweepResult& sweep, std::uint64_t seed) {
  ++sweep.failed;
  if (!sweep.first_failed_seed || seed < *sweep.first_failed_seed) sweep.first_failed_seed = seed;
}

void takeLine(SweepResult& sweep, Worker& worker, const std::string& text, std::uint64_t jobs) {
  std::istringstream line(text);
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
  const std::vector<std::string> edges = allEdges();
  for (std::size_t edge = 0; line >> edge && edge < edges.size();) ++sweep.edges[edges[edge]];
  ++sweep.seeds;
  if (bad != 0) failed(sweep, seed);
  sweep.runs += runs;
  sweep.starts += starts;
  sweep.crashes += crashes;
  sweep.events += events;
  sweep.virtual_s += virtual_s;
  worker.next = seed + jobs;
}

/// Takes what the worker has written; false when it has ended.
bool takeLines(SweepResult& sweep, Worker& worker, std::uint64_t jobs) {
  char buffer[4096];
  const ssize_t count = ::read(worker.lines, buffer, sizeof buffer);
  if (count <= 0) return false;
  worker.received.append(buffer, static_cast<std::size_t>(count));
  for (auto end = worker.received.find('\n'); end != std::string::npos;
       end = worker.received.find('\n')) {
    takeLine(sweep, worker, worker.received.substr(0, end), jobs);
    worker.received.erase(0, end + 1);
  }
  return true;
}

/// The worker has ended. One that died of a seed is replaced by one for the seeds after it; false
/// when nothing is left for it.
bool replaceDead(const SweepOptions& options, SweepResult& sweep, Worker& worker) {
  ::close(worker.lines);
  int status = 0;
  ::waitpid(worker.pid, &status, 0);
  const bool died = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  if (!died || worker.next > options.last) return false;
  SeedOptions seed = options.seed;
  seed.seed = worker.next;
  std::printf("seed %" PRIu64
              ": check: the process died (%s %d) of a check in the code\n"
              "  replay: %s\n",
              seed.seed, WIFSIGNALED(status) ? "signal" : "status",
              WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
              replayCommand(seed).c_str());
  ++sweep.seeds;
  failed(sweep, worker.next);
  if (options.first_only || worker.next + options.jobs > options.last) return false;
  worker = startWorker(options, worker.next + options.jobs);
  return true;
}

}  // namespace

SweepResult runSweep(const SweepOptions& options) {
  SweepResult sweep;
  std::vector<Worker> workers;
  for (std::uint64_t i = 0; i < options.jobs && options.first + i <= options.last; ++i) {
    workers.push_back(startWorker(options, options.first + i));
  }
  while (!workers.empty()) {
    std::vector<pollfd> waiting;
    for (const Worker& worker : workers) waiting.push_back({worker.lines, POLLIN, 0});
    if (::poll(waiting.data(), waiting.size(), -1) < 0) continue;
    for (std::size_t i = workers.size(); i-- > 0;) {
      if (waiting[i].revents == 0 || takeLines(sweep, workers[i], options.jobs)) continue;
      if (replaceDead(options, sweep, workers[i])) continue;
      workers.erase(workers.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (options.on_progress) options.on_progress(sweep);
  }
  return sweep;
}

}  // namespace vms::sim
