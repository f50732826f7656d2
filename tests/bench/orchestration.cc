#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "schema/base/asio_clock.h"
#include "tests/bench/agent_fleet.h"
#include "tests/bench/child_process.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/scratch_folder.h"
#include "tests/bench/start_figures.h"
#include "tests/bench/subcommand.h"

/// How fast the engine takes, batches and records starts, with hosts that cost next to nothing.
namespace vms::bench {
namespace {

struct Options {
  std::size_t hosts = 10;
  std::size_t vms = 1'000;
  std::string window = "adaptive";
  std::int64_t commit_delay_ms = 0;
  std::int64_t build_ms = 5;
  std::size_t width = 64;
  std::size_t connections = 16;
  std::size_t alone = 50;
  std::uint64_t seed = 1;
  std::int64_t timeout_s = 120;
  std::string keep_dir;
};

/// "adaptive", "off" or "fixed:MS", as the engine's configuration takes it.
std::string checkWindow(const std::string& text) {
  constexpr std::string_view kFixed = "fixed:";
  if (text == "adaptive" || text == "off") return {};
  if (text.starts_with(kFixed)) {
    const auto delay = parseDuration(text.substr(kFixed.size()) + "ms");
    if (delay && *delay <= seconds(10)) return {};
  }
  return "give adaptive, off, or fixed: and 0 to 10000 milliseconds, such as fixed:10";
}

std::vector<std::string> namesOf(const std::string& prefix, std::size_t first, std::size_t last) {
  std::vector<std::string> names;
  for (std::size_t i = first; i < last; ++i) names.push_back(prefix + std::to_string(i));
  return names;
}

Result<void> waitForHosts(EngineUnderTest& engine, HttpsConnection& api, const AgentFleet& fleet,
                          const Options& options) {
  std::optional<Error> failure;
  TimePoint asked{};
  const AsioClock clock;
  const auto all_ready = [&] {
    if (!engine.process().running()) {
      failure = Error(ErrorClass::Unavailable, "the engine has ended");
      return true;
    }
    if (fleet.ready() < options.hosts || clock.now() - asked < milliseconds(50)) return false;
    asked = clock.now();
    const Result<std::size_t> ready = countReadyHosts(api);
    if (!ready) failure = ready.error();
    return failure || *ready == options.hosts;
  };
  const auto up = waitUntil(all_ready, seconds(options.timeout_s), "connecting the hosts");
  if (failure) return *failure;
  return up;
}

void print(const Report& report) {
  const auto number = [&](const char* key) { return report.at(key).to_number<double>(); };
  std::printf("  %.0f starts/s, durable end to end; accepted at %.0f/s\n", number("starts_per_s"),
              number("ingest_per_s"));
  std::printf("  %.0f messages: %.1f starts each in bulk, %.1f each of single requests\n",
              number("messages"), number("starts_per_message_bulk"),
              number("starts_per_message_single"));
  std::printf("  %.1f starts per commit, %.0f syncs, %.0f bytes per start\n",
              number("starts_per_commit"), number("engine_fsyncs"), number("bytes_per_start"));
  std::printf("  %.2f commits of agents' journals per start\n",
              number("journal_commits_per_start"));
  std::printf("  accepted to sent: p50 %.1f ms, p99 %.1f ms; a lone start: p99 %.1f ms\n",
              number("accept_to_sent_p50_ms"), number("accept_to_sent_p99_ms"),
              number("lone_start_accept_to_sent_p99_ms"));
  std::printf("  accepted to running: p50 %.0f ms, p99 %.0f ms\n",
              number("accept_to_running_p50_ms"), number("accept_to_running_p99_ms"));
  std::printf("  engine: %.2f s of CPU, %.3f ms per start, %.0f MiB at most\n",
              number("engine_cpu_s"), number("engine_cpu_ms_per_start"),
              number("engine_peak_rss_mib"));
}

Result<Report> measure(const Options& options, const std::filesystem::path& folder,
                       EngineUnderTest& engine) {
  const double load = loadAverage();
  WireTap tap;
  FleetSettings fleet_settings;
  fleet_settings.hosts = options.hosts;
  fleet_settings.vms = options.vms + options.alone;
  fleet_settings.build = milliseconds(options.build_ms);
  fleet_settings.width = options.width;
  fleet_settings.seed = options.seed;
  const auto fleet =
      AgentFleet::start(fleet_settings, folder, engine.pki(), engine.agentAddress(), tap);
  if (!fleet) return fleet.error();
  Result<HttpsConnection> api =
      connectToApi(engine.apiAddress(), (engine.pki() / "ca.crt").string(), engine.token());
  if (!api) return api.error();
  if (auto ready = waitForHosts(engine, *api, **fleet, options); !ready) return ready.error();
  std::printf("orchestration: %zu hosts, %zu VMs, window %s, commit delay %d ms, load %.2f\n",
              options.hosts, options.vms, options.window.c_str(),
              static_cast<int>(options.commit_delay_ms), load);
  for (const auto& [prefix, count] :
       {std::pair("alone-", options.alone), std::pair("vm-", options.vms)}) {
    if (auto defined = defineVms(*api, prefix, count); !defined) return defined.error();
  }

  const LoadTarget target{engine, tap, seconds(options.timeout_s)};
  StartRecords records;
  auto alone = startAlone(target, namesOf("alone-", 0, options.alone));
  if (!alone) return alone.error();
  records.alone = std::move(*alone);
  auto before = engine.counters();
  if (!before) return before.error();
  const double own_before = ownCpuSeconds();
  const std::uint64_t journals_before = (*fleet)->journalCommits();
  const std::size_t half = options.vms / 2;
  auto loaded = startUnderLoad(target, namesOf("vm-", 0, half), namesOf("vm-", half, options.vms),
                               options.connections);
  if (!loaded) return loaded.error();
  const double own_after = ownCpuSeconds();
  const std::uint64_t journals_after = (*fleet)->journalCommits();
  auto after = engine.counters();
  if (!after) return after.error();
  records.load = std::move(*loaded);
  records.before = *before;
  records.after = *after;
  auto history = readHistory(*api);
  if (!history) return history.error();
  records.history = std::move(*history);

  Result<Report> figures = figuresOf(records);
  if (!figures) return figures.error();
  Report report;
  report["hosts"] = options.hosts;
  report["vms"] = options.vms;
  report["window"] = options.window;
  report["commit_delay_ms"] = options.commit_delay_ms;
  report["build_ms"] = options.build_ms;
  report["width"] = options.width;
  report["connections"] = options.connections;
  report["load"] = load;
  report["agents_and_clients_cpu_s"] = own_after - own_before;
  report["journal_commits_per_start"] =
      static_cast<double>(journals_after - journals_before) / static_cast<double>(options.vms);
  for (auto& [key, value] : *figures) report[key] = std::move(value);
  print(report);
  return report;
}

Result<Report> run(const Options& options) {
  Result<ScratchFolder> folder = ScratchFolder::make(options.keep_dir);
  if (!folder) return folder.error();
  EngineSettings settings;
  settings.window = options.window;
  settings.commit_delay = milliseconds(options.commit_delay_ms);
  Result<EngineUnderTest> engine = EngineUnderTest::start(folder->path(), settings);
  if (!engine) return engine.error();
  Result<Report> report = measure(options, folder->path(), *engine);
  if (!report) return engine->reasonFor(report.error());
  return report;
}

}  // namespace

void addOrchestration(CLI::App& app, Benchmark& chosen) {
  CLI::App* const command = app.add_subcommand(
      "orchestration", "Starts per second, batching and delays of the engine with simulated hosts");
  auto options = std::make_shared<Options>();
  command->add_option("--hosts", options->hosts, "Host agents")
      ->check(CLI::Range(1, 500))
      ->capture_default_str();
  command->add_option("--vms", options->vms, "VMs: half by single requests, half by one for all")
      ->check(CLI::Range(2, 20'000))
      ->capture_default_str();
  command->add_option("--window", options->window, "adaptive, off or fixed:MS")
      ->check(CLI::Validator(checkWindow, "WINDOW"))
      ->capture_default_str();
  command
      ->add_option("--commit-delay", options->commit_delay_ms,
                   "Milliseconds that the engine's disk takes longer than this machine's")
      ->check(CLI::Range(0, 1'000))
      ->capture_default_str();
  command->add_option("--build-ms", options->build_ms, "Time that a host needs for one domain")
      ->check(CLI::Range(0, 60'000))
      ->capture_default_str();
  command->add_option("--width", options->width, "Domains that a host builds at once")
      ->check(CLI::Range(1, 1'024))
      ->capture_default_str();
  command->add_option("--connections", options->connections, "Clients of single requests")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command->add_option("--alone", options->alone, "Lone starts before the load")
      ->check(CLI::Range(1, 1'000))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Of the hosts' random numbers")
      ->capture_default_str();
  command->add_option("--timeout", options->timeout_s, "Seconds that each step may take")
      ->check(CLI::Range(1, 3'600))
      ->capture_default_str();
  command->add_option("--keep-dir", options->keep_dir,
                      "Keep databases and logs in this new or empty folder");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace vms::bench
