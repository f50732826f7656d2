#include <CLI/CLI.hpp>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <set>
#include <string>

#include "schema/base/log.h"
#include "tests/sim/fault_plan.h"
#include "tests/sim/mutation.h"
#include "tests/sim/scenario.h"
#include "tests/sim/seed_run.h"
#include "tests/sim/sweep.h"

namespace {

using namespace vms::sim;

/// Above every level.
constexpr auto kNoLog = static_cast<vms::log::Level>(static_cast<int>(vms::log::Level::Error) + 1);

/// Long sweeps say that they are alive.
constexpr auto kReportEvery = std::chrono::seconds(10);

/// "a,b,c"; "none" is the empty set. Empty optional: an unknown name, which was reported.
std::optional<std::set<std::string>> parseFaults(const std::string& text) {
  std::set<std::string> chosen;
  if (text == "none") return chosen;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string name = text.substr(begin, end - begin);
    bool known = false;
    for (const std::string& each : faultNames()) known = known || each == name;
    if (!known) {
      std::fprintf(stderr, "vms-sim: --faults: unknown fault '%s'; known are none", name.c_str());
      for (const std::string& each : faultNames()) std::fprintf(stderr, ",%s", each.c_str());
      std::fputc('\n', stderr);
      return std::nullopt;
    }
    chosen.insert(name);
    begin = end + 1;
  }
  return chosen;
}

/// "A..B", inclusive.
bool parseRange(const std::string& text, std::uint64_t& first, std::uint64_t& last) {
  return std::sscanf(text.c_str(), "%" SCNu64 "..%" SCNu64, &first, &last) == 2 && first <= last;
}

void printJson(const SweepResult& sweep, double elapsed_s) {
  std::string faults;
  for (const auto& [kind, count] : sweep.faults) {
    faults += (faults.empty() ? "\"" : ",\"") + kind + "\":" + std::to_string(count);
  }
  const std::string first =
      sweep.first_failed_seed ? std::to_string(*sweep.first_failed_seed) : "null";
  std::printf("{\"seeds\":%" PRIu64 ",\"failed\":%" PRIu64
              ",\"first_failed_seed\":%s,"
              "\"runs\":%" PRIu64 ",\"starts\":%" PRIu64 ",\"crashes\":%" PRIu64
              ",\"faults\":{%s},\"events\":%" PRIu64 ",\"virtual_s\":%.3f,\"elapsed_s\":%.3f}\n",
              sweep.seeds, sweep.failed, first.c_str(), sweep.runs, sweep.starts, sweep.crashes,
              faults.c_str(), sweep.events, sweep.virtual_s, elapsed_s);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Runs the engine and its agents against simulated hosts on virtual time"};
  std::uint64_t seed = 0;
  std::string seeds, faults, scenario;
  SweepOptions sweep;
  bool json = false, accept = false, print_hash = false;
  std::size_t hosts = 0, vms = 0;
  auto* const one = app.add_option("--seed", seed, "Run this seed");
  auto* const many = app.add_option("--seeds", seeds, "Run all seeds A..B");
  app.add_option("--jobs", sweep.jobs, "Processes that run seeds")->check(CLI::Range(1, 256));
  auto* const host_count =
      app.add_option("--hosts", hosts, "Instead of a drawn number")->check(CLI::Range(1, 50));
  auto* const vm_count =
      app.add_option("--vms", vms, "Instead of a drawn number")->check(CLI::Range(1, 2000));
  app.add_option("--steps", sweep.seed.max_steps, "Fail a seed that needs more events");
  auto* const fault_list =
      app.add_option("--faults", faults, "Only these kinds, by comma; none for none at all");
  app.add_flag("--trace", sweep.seed.trace, "Print the story of the seed");
  app.add_flag("--details", sweep.seed.details, "With --trace: print everything");
  app.add_flag("--json", json, "The last line of stdout is one JSON object");
  app.add_flag("--hash", print_hash, "Print the hash over all events of every seed");
  app.add_flag("!--no-shrink", sweep.shrink, "Report a failing seed as it is");
  app.add_option("--mutation", sweep.seed.mutation, "Wake this defect, which must be caught")
      ->check([](const std::string& name) {
        if (findMutation(name) != nullptr) return std::string();
        return mutations().empty()
                   ? std::string("this build has no defects; configure with -DVMS_MUTATIONS=ON")
                   : "unknown; --list-mutations names those that there are";
      });
  app.add_flag("--first", sweep.first_only, "End at the first seed that fails");
  auto* const story = app.add_option("--scenario", scenario, "Run the scenario in this folder")
                          ->excludes(one)
                          ->excludes(many);
  app.add_flag("--accept", accept, "With --scenario: write its log as the expected one")
      ->needs(story);
  bool edges = false, list_edges = false;
  app.add_flag("--edges", edges,
               "Print what a scenario covers of the tables of states; of seeds, how many of them "
               "meet each entry");
  app.add_flag("--list-edges", list_edges, "Print all that there is to cover");
  bool list_mutations = false;
  app.add_flag("--list-mutations", list_mutations,
               "Print each one's name, where to search, the rule it breaks and how");
  one->excludes(many);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  vms::log::init("vms-sim", vms::log::Level::Info);
  // A sweep's daemons complain all the time, as they should; only a person who looks wants it.
  if (!sweep.seed.details) vms::log::setLevel(kNoLog);
  if (list_mutations) {
    for (const Mutation& each : mutations()) {
      std::printf("%s\t%s\t%s\t%s\n", each.name, each.search, each.rule, each.what);
    }
    return 0;
  }
  choose(findMutation(sweep.seed.mutation));
  if (list_edges) {
    for (const std::string& edge : allEdges()) std::printf("%s\n", edge.c_str());
    return 0;
  }
  if (*story) {
    return runScenario(scenario, edges                ? ScenarioMode::Edges
                                 : accept             ? ScenarioMode::Accept
                                 : sweep.seed.details ? ScenarioMode::Details
                                                      : ScenarioMode::Compare);
  }
  if (!*one && !*many) {
    std::fprintf(stderr, "vms-sim: nothing to do; give --seed N, --seeds A..B or --scenario DIR\n");
    return 2;
  }
  sweep.first = sweep.last = seed;
  if (*many && !parseRange(seeds, sweep.first, sweep.last)) {
    std::fprintf(stderr, "vms-sim: --seeds: '%s' is not of the form A..B\n", seeds.c_str());
    return 2;
  }
  if (*host_count) sweep.seed.hosts = hosts;
  if (*vm_count) sweep.seed.vms = vms;
  if (*fault_list) {
    sweep.seed.faults = parseFaults(faults);
    if (!sweep.seed.faults) return 2;
  }
  sweep.print_hash = print_hash;
  const auto begin = std::chrono::steady_clock::now();
  auto next_report = begin + kReportEvery;
  sweep.on_progress = [&](const SweepResult& so_far) {
    if (std::chrono::steady_clock::now() < next_report) return;
    next_report += kReportEvery;
    std::fprintf(stderr, "%" PRIu64 " of %" PRIu64 " seeds, %" PRIu64 " failed\n", so_far.seeds,
                 sweep.last - sweep.first + 1, so_far.failed);
  };
  const SweepResult result = runSweep(sweep);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  std::printf("%" PRIu64 " seeds, %" PRIu64 " failed, %" PRIu64 " runs, %" PRIu64
              " starts, %" PRIu64 " crashes, %.0f virtual seconds\n",
              result.seeds, result.failed, result.runs, result.starts, result.crashes,
              result.virtual_s);
  if (edges) {
    for (const std::string& edge : allEdges()) {
      const auto met = result.edges.find(edge);
      std::printf("%8" PRIu64 "  %s\n", met == result.edges.end() ? 0 : met->second, edge.c_str());
    }
  }
  if (json) printJson(result, elapsed.count());
  return result.failed == 0 ? 0 : 1;
}
