#include "tests/sim/seed_run.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "tests/sim/client.h"
#include "tests/sim/fault_plan.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/workload.h"

namespace vms::sim {

namespace {

constexpr Duration kSettle = std::chrono::minutes(30);
/// More events than this at one moment mean that somebody spins.
constexpr std::uint64_t kStepsAtOnce = 300'000;

/// What one seed decides before anything runs.
struct Shape {
  std::vector<HostSize> hosts;
  std::size_t vms = 1;
  Duration window{};
};

Shape drawShape(const SeedOptions& options, Rng& rng) {
  Shape shape;
  std::uint64_t hosts = rng.between(std::uint64_t{1}, std::uint64_t{5});
  std::uint64_t vms = rng.between(std::uint64_t{1}, std::uint64_t{40});
  if (options.hosts) hosts = *options.hosts;
  if (options.vms) vms = *options.vms;
  shape.vms = static_cast<std::size_t>(vms);
  // Room for half of the VMs up to three times all of them.
  const double ratio = 0.5 + 2.5 * rng.real();
  const std::uint64_t average = std::uint64_t{7} << 28U;
  const double wanted = ratio * static_cast<double>(average * vms) / static_cast<double>(hosts);
  const std::uint64_t memory =
      (static_cast<std::uint64_t>(wanted) >> 29U << 29U) + (std::uint64_t{3} << 30U);
  shape.hosts.assign(static_cast<std::size_t>(hosts), HostSize{64, memory});
  shape.window = rng.between(Duration(seconds(10)), Duration(seconds(90)));
  return shape;
}

class SeedRun {
 public:
  explicit SeedRun(const SeedOptions& options)
      : options_(options),
        rng_(options.seed),
        shape_(drawShape(options, rng_)),
        cluster_(rng_.next(), shape_.hosts),
        client_(cluster_, rng_.fork()),
        workload_(cluster_, client_, rng_.fork(), shape_.vms, shape_.window),
        plan_(cluster_, client_, rng_.fork(), shape_.window, options.faults) {}

  SeedResult run() {
    if (options_.trace) printTrace();
    World& world = cluster_.world();
    world.setHook([this]() { afterStep(); });
    for (const auto& node : cluster_.nodes()) {
      node->options.create_width = static_cast<std::size_t>(1 + world.rng().below(8));
    }
    workload_.schedule();
    plan_.schedule();
    cluster_.startEngine();
    for (const auto& node : cluster_.nodes()) {
      if (!node->joins_later) cluster_.startAgent(*node);
    }
    world.runUntil([]() { return false; }, TimePoint{shape_.window});
    plan_.heal();
    settle();
    return result();
  }

 private:
  void printTrace() {
    cluster_.world().trace().setSink(
        [details = options_.details](Trace::Level level, TimePoint now, std::string_view text) {
          if (level == Trace::Level::Detail && !details) return;
          const std::string when = formatVirtual(now);
          std::printf("%10s  %.*s\n", when.c_str(), static_cast<int>(text.size()), text.data());
        });
  }

  void afterStep() {
    World& world = cluster_.world();
    plan_.afterStep();
    if (world.now() != last_moment_) {
      last_moment_ = world.now();
      first_step_ = world.steps();
    } else if (world.steps() - first_step_ > kStepsAtOnce) {
      cluster_.checkers().fail("spins", "time stands still while somebody works");
    }
    if (world.steps() > options_.max_steps) {
      cluster_.checkers().fail("too_many_steps", "more events than --steps allows");
    }
  }

  void settle() {
    World& world = cluster_.world();
    const TimePoint limit = world.now() + kSettle;
    while (!world.stopped()) {
      world.runFor(seconds(5));
      if (client_.open() == 0 && cluster_.checkers().unsettled().empty()) return;
      client_.answerAlarms();
      if (world.now() < limit) continue;
      std::string what = client_.open() > 0 ? "a client still waits; " : "";
      for (const std::string& open : cluster_.checkers().unsettled()) what += open + "; ";
      cluster_.checkers().fail("settles", what);
    }
  }

  SeedResult result() {
    World& world = cluster_.world();
    SeedResult result;
    result.seed = options_.seed;
    result.hosts = shape_.hosts.size();
    result.vms = shape_.vms;
    result.violation = cluster_.checkers().violation();
    result.runs = cluster_.store().contents().runs.size();
    result.starts = cluster_.checkers().starts();
    result.crashes = cluster_.crashes();
    result.faults = plan_.counts();
    result.enabled = plan_.enabled();
    result.edges = cluster_.checkers().edges();
    result.events = world.steps();
    result.virtual_s = static_cast<double>(toMs(world.now().since_start)) / 1000.0;
    // One more draw: a run that drew another number of times gets another hash.
    world.trace().mix(world.rng().next());
    result.hash = world.trace().hash();
    return result;
  }

  const SeedOptions options_;
  Rng rng_;
  Shape shape_;
  SimCluster cluster_;
  Client client_;
  Workload workload_;
  FaultPlan plan_;
  TimePoint last_moment_{};
  std::uint64_t first_step_ = 0;
};

/// In a child process, which may die of what it finds.
bool failsAlike(const SeedOptions& options, const std::string& checker) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    const SeedResult result = runSeed(options);
    std::_Exit(result.violation && result.violation->checker == checker ? 0 : 1);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) return false;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

SeedResult runSeed(const SeedOptions& options) {
  SeedRun run(options);
  return run.run();
}

std::string replayCommand(const SeedOptions& options) {
  std::string command = "vms-sim --seed " + std::to_string(options.seed);
  if (options.hosts) command += " --hosts " + std::to_string(*options.hosts);
  if (options.vms) command += " --vms " + std::to_string(*options.vms);
  if (options.faults) {
    std::string list;
    for (const std::string& name : *options.faults) list += (list.empty() ? "" : ",") + name;
    command += " --faults " + (list.empty() ? "none" : list);
  }
  if (!options.mutation.empty()) command += " --mutation " + options.mutation;
  return command + " --trace";
}

SeedOptions shrinkSeed(const SeedOptions& options, const SeedResult& failed) {
  const std::string checker = failed.violation->checker;
  SeedOptions best = options;
  best.trace = false;
  SeedOptions named = best;
  named.faults = failed.enabled;
  if (failsAlike(named, checker)) best = named;
  if (best.faults) {
    for (const std::string& name : failed.enabled) {
      SeedOptions fewer = best;
      fewer.faults->erase(name);
      if (failsAlike(fewer, checker)) best = fewer;
    }
  }
  std::size_t vms = failed.vms;
  while (vms > 1) {
    SeedOptions fewer = best;
    fewer.vms = vms / 2;
    if (!failsAlike(fewer, checker)) break;
    best = fewer;
    vms /= 2;
  }
  std::size_t hosts = failed.hosts;
  while (hosts > 1) {
    SeedOptions fewer = best;
    fewer.hosts = hosts - 1;
    if (!failsAlike(fewer, checker)) break;
    best = fewer;
    --hosts;
  }
  return best;
}

}  // namespace vms::sim
