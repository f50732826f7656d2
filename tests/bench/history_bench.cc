#include <CLI/App.hpp>
#include <CLI/Validators.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runner/sqlite_store.h"
#include "schema/base/asio_clock.h"
#include "tests/bench/child_process.h"
#include "tests/bench/history_export.h"
#include "tests/bench/history_rows.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/kept_history.h"
#include "tests/bench/meanwhile.h"
#include "tests/bench/scratch_folder.h"
#include "tests/bench/start_figures.h"
#include "tests/bench/subcommand.h"
#include "tests/integration/await.h"

namespace vms::bench {
namespace {

using runner::HistoryQuery;

constexpr std::uint32_t kRequestsPerCommit = 20;
constexpr std::size_t kVmsPerCommit = 1000;
constexpr std::size_t kExportPage = 1000;
constexpr std::uint32_t kVmsOfATurn = 20;
constexpr int kCommitsOfRound = 60;
constexpr Duration kRest = milliseconds(5);  ///< Between two commits that are measured.
constexpr std::int64_t kDayMs = 24LL * 3600 * 1000;

struct Options {
  HistoryShape shape;
  int pages = 2000;
  int stats = 50;
  int rounds = 5;
  std::uint64_t export_rows = 1'000'000;
  std::string keep_dir, use_dir;
};

double msSince(const Clock& clock, TimePoint begin) {
  return std::chrono::duration<double, std::milli>(clock.now() - begin).count();
}

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0); }

/// Processor time of one of `count` queries.
double cpuMsSince(double cpu_before, std::size_t count) {
  return (ownCpuSeconds() - cpu_before) * 1000 / static_cast<double>(count);
}

class HistoryBench {
 public:
  /// `kept`: the history that `folder` has already.
  HistoryBench(const Options& options, std::filesystem::path folder,
               const std::optional<KeptHistory>& kept)
      : options_(options),
        folder_(std::move(folder)),
        is_kept_(kept.has_value()),
        shape_(kept ? kept->shape : options.shape),
        rng_(options.shape.seed + 1),
        rows_(shape_, kept ? kept->end : clock_.wallNow()) {}

  Result<Report> run() {
    report_["load"] = loadAverage();
    for (const auto step : {&HistoryBench::open, &HistoryBench::fillOrReuse, &HistoryBench::exports,
                            &HistoryBench::pages, &HistoryBench::stats, &HistoryBench::commits}) {
      if (auto done = (this->*step)(); !done) return done.error();
      if (interrupted()) return Error(ErrorClass::Cancelled, "interrupted");
    }
    return std::move(report_);
  }

 private:
  /// What goes on beside the commits.
  struct Company {
    const char* name;
    std::function<Result<void>()> step;  ///< None: nothing goes on.
    std::vector<double> ms;
  };

  Result<void> open() {
    runner::SqliteStoreOptions options;
    options.path = folder_ / "state" / "engine.db";
    std::error_code error;
    std::filesystem::create_directory(options.path.parent_path(), error);
    if (error) {
      return Error(ErrorClass::Unavailable,
                   options.path.parent_path().string() + " cannot be made: " + error.message());
    }
    options.retention = std::chrono::hours(24 * 366 * 100);  // What is pruned is said by us.
    auto store = runner::SqliteStore::open(options, clock_);
    if (!store) return store.error();
    store_ = std::move(*store);
    return {};
  }

  Result<void> fillOrReuse() {
    if (!is_kept_) return fill();
    const auto snapshot = store_->load();
    if (!snapshot) return snapshot.error();
    rows_.skip(snapshot->vms);
    noteSize();
    return {};
  }

  void noteSize() {
    const auto bytes = std::filesystem::file_size(folder_ / "state" / "engine.db");
    report_["rows"] = rows_.attempts();
    report_["hosts"] = shape_.hosts;
    report_["days"] = static_cast<double>(rows_.end().unix_ms - rows_.begin().unix_ms) / kDayMs;
    report_["database_bytes"] = bytes;
    report_["bytes_per_row"] = static_cast<double>(bytes) / static_cast<double>(rows_.attempts());
  }

  Result<void> fill() {
    std::vector<runner::Change> vms = rows_.vms();
    for (std::size_t i = 0; i < vms.size(); i += kVmsPerCommit) {
      const auto from = vms.begin() + static_cast<std::ptrdiff_t>(i);
      const auto size = std::min(kVmsPerCommit, vms.size() - i);
      std::vector<runner::Change> some(from, from + static_cast<std::ptrdiff_t>(size));
      if (auto done = await(store_->commit(std::move(some))); !done) return done.error();
    }
    const std::uint64_t tenth = std::max<std::uint64_t>(1, shape_.attempts / 10);
    std::uint64_t next_line = tenth;
    double store_ms = 0, cpu_s = 0;
    double last_ms = 0, last_rate = 0;
    while (rows_.attempts() < shape_.attempts && !interrupted()) {
      std::vector<runner::Change> changes;
      for (std::uint32_t i = 0; i < kRequestsPerCommit; ++i) {
        std::vector<runner::Change> more = rows_.request();
        changes.insert(changes.end(), std::make_move_iterator(more.begin()),
                       std::make_move_iterator(more.end()));
      }
      const TimePoint begin = clock_.now();
      const double cpu_before = ownCpuSeconds();
      if (auto done = await(store_->commit(std::move(changes))); !done) return done.error();
      store_ms += msSince(clock_, begin);
      cpu_s += ownCpuSeconds() - cpu_before;
      if (rows_.attempts() >= next_line) {
        last_rate = static_cast<double>(tenth) * 1000 / (store_ms - last_ms);
        std::printf("%9lu attempts, %.0f attempts/s in the last tenth\n", rows_.attempts(),
                    last_rate);
        std::fflush(stdout);
        last_ms = store_ms;
        next_line += tenth;
      }
    }
    noteSize();
    const auto attempts = static_cast<double>(rows_.attempts());
    report_["fill_s"] = store_ms / 1000;
    report_["insert_rows_per_s"] = attempts * 1000 / store_ms;
    report_["insert_last_tenth_rows_per_s"] = last_rate;
    report_["insert_cpu_us_per_row"] = cpu_s * 1e6 / attempts;
    report_["insert_all_rows_per_s"] = static_cast<double>(rows_.rows()) * 1000 / store_ms;
    std::printf(
        "filled: %.0f attempts/s (%.0f rows/s with their requests, items and runs); %.0f us of CPU "
        "and %.0f bytes for each attempt with all that belongs to it\n",
        attempts * 1000 / store_ms, static_cast<double>(rows_.rows()) * 1000 / store_ms,
        cpu_s * 1e6 / attempts, report_["bytes_per_row"].as_double());
    if (options_.keep_dir.empty() || interrupted()) return {};
    return writeKept(folder_, {shape_, rows_.end()});
  }

  /// By an engine of its own, as a person would.
  Result<void> exports() {
    const std::uint64_t rows = std::min(options_.export_rows, rows_.attempts());
    if (rows == 0) return {};
    store_.reset();
    const auto exported = exportHistory(folder_, {"csv", "ndjson"}, rows);
    if (!exported) return exported.error();
    for (const ExportFigures& figures : *exported) {
      const std::string name = "export_" + figures.format;
      const double rate = static_cast<double>(figures.rows) / figures.seconds;
      report_[name + "_rows"] = figures.rows;
      report_[name + "_bytes"] = figures.bytes;
      report_[name + "_rows_per_s"] = rate;
      report_[name + "_engine_mib_before"] = mib(figures.engine_rss_before);
      report_[name + "_engine_mib"] = mib(figures.engine_rss_most);
      report_[name + "_client_mib"] = mib(figures.client_rss);
      std::printf(
          "%s of %lu attempts: %.0f attempts/s, %.0f MiB; the engine grew from %.0f to %.0f "
          "MiB, vmsctl had %.0f\n",
          figures.format.c_str(), figures.rows, rate, mib(figures.bytes),
          mib(figures.engine_rss_before), mib(figures.engine_rss_most), mib(figures.client_rss));
      std::fflush(stdout);
    }
    return open();
  }

  HistoryQuery oneDay() {
    HistoryQuery query;
    query.host = rows_.host(rng_.below(shape_.hosts));
    const std::int64_t span = rows_.end().unix_ms - rows_.begin().unix_ms;
    const auto room = static_cast<std::uint64_t>(std::max<std::int64_t>(0, span - kDayMs));
    query.since = WallTime{rows_.begin().unix_ms + static_cast<std::int64_t>(rng_.below(room + 1))};
    query.until = WallTime{query.since->unix_ms + kDayMs};
    return query;
  }

  Result<void> pages() {
    std::vector<double> ms;
    std::uint64_t seen = 0;
    std::string cursor;
    HistoryQuery query;
    const double cpu_before = ownCpuSeconds();
    for (int i = 0; i < options_.pages; ++i) {
      // Every other page is the one behind a page.
      query = i % 2 == 0 || cursor.empty() ? oneDay() : query;
      query.cursor = i % 2 == 0 ? std::string() : cursor;
      const TimePoint begin = clock_.now();
      const auto page = await(store_->history(query));
      ms.push_back(msSince(clock_, begin));
      if (!page) return page.error();
      seen += page->attempts.size();
      cursor = page->next_cursor;
    }
    note("page", ms);
    report_["page_cpu_ms"] = cpuMsSince(cpu_before, ms.size());
    report_["pages"] = ms.size();
    std::printf("%zu pages of one host and one day, %.0f attempts each: p50 %.2f ms, p99 %.2f ms\n",
                ms.size(), static_cast<double>(seen) / static_cast<double>(ms.size()),
                percentile(ms, 0.5), percentile(ms, 0.99));
    return {};
  }

  Result<void> stats() {
    std::vector<double> ms;
    std::uint64_t counted = 0;
    const double cpu_before = ownCpuSeconds();
    for (int i = 0; i < options_.stats; ++i) {
      const HistoryQuery query = oneDay();
      const TimePoint begin = clock_.now();
      const auto stats = await(store_->historyStats(query));
      ms.push_back(msSince(clock_, begin));
      if (!stats) return stats.error();
      counted += stats->count;
    }
    const double each = static_cast<double>(counted) / static_cast<double>(ms.size());
    note("stats_host_day", ms);
    report_["stats_host_day_cpu_ms"] = cpuMsSince(cpu_before, ms.size());
    report_["stats_host_day_max_ms"] = percentile(ms, 1.0);
    report_["stats_host_day_rows"] = each;
    std::printf(
        "%zu stats of one host and one day, %.0f attempts each: p50 %.1f ms, slowest %.1f ms\n",
        ms.size(), each, percentile(ms, 0.5), percentile(ms, 1.0));
    return {};
  }

  Result<void> oneExportPage() {
    HistoryQuery query;
    query.limit = kExportPage;
    query.cursor = export_cursor_;
    auto page = await(store_->history(query));
    if (!page) return page.error();
    export_cursor_ = page->next_cursor;
    exported_ += page->attempts.size();
    return {};
  }

  Result<void> oneLongQuery() {
    HistoryQuery query;
    query.since =
        WallTime{rows_.end().unix_ms - (rows_.end().unix_ms - rows_.begin().unix_ms) / 20};
    const auto stats = await(store_->historyStats(query));
    if (!stats) return stats.error();
    return {};
  }

  Result<void> oneSlice() {
    const std::int64_t half = (rows_.end().unix_ms - rows_.begin().unix_ms) / 2;
    const TimePoint begin = clock_.now();
    const auto removed = await(store_->prune(WallTime{rows_.begin().unix_ms + half}));
    if (!removed) return removed.error();
    if (*removed > 0) slice_ms_.push_back(msSince(clock_, begin));
    pruned_ += *removed;
    return {};
  }

  Result<void> someCommits(Company& company) {
    std::optional<Meanwhile> meanwhile;
    if (company.step) meanwhile.emplace(company.step);
    for (int i = 0; i < kCommitsOfRound && !interrupted(); ++i) {
      auto changes = rows_.turn(clock_.wallNow(), kVmsOfATurn);
      const TimePoint begin = clock_.now();
      if (auto done = await(store_->commit(std::move(changes))); !done) return done.error();
      company.ms.push_back(msSince(clock_, begin));
      std::this_thread::sleep_for(kRest);
    }
    return meanwhile ? meanwhile->join() : Result<void>();
  }

  /// Rounds in turn, so that what else the machine does meets all of them alike.
  Result<void> commits() {
    std::array companies = {
        Company{"alone", nullptr, {}},
        Company{"query", [this] { return oneLongQuery(); }, {}},
        Company{"export", [this] { return oneExportPage(); }, {}},
        Company{"prune", [this] { return oneSlice(); }, {}},
    };
    for (int round = 0; round < options_.rounds; ++round) {
      for (Company& company : companies) {
        if (auto done = someCommits(company); !done) return done;
      }
    }
    const double p50 = percentile(companies[0].ms, 0.5);
    const double p99 = percentile(companies[0].ms, 0.99);
    std::printf("commits of %u starts      p50 ms    p99 ms  ratio50  ratio99\n", kVmsOfATurn);
    for (const Company& company : companies) {
      const std::string name = company.name;
      const double ratio50 = percentile(company.ms, 0.5) / p50;
      const double ratio99 = percentile(company.ms, 0.99) / p99;
      note("commit_" + name, company.ms);
      report_["commit_" + name + "_p50_ratio"] = ratio50;
      report_["commit_" + name + "_p99_ratio"] = ratio99;
      std::printf("  beside %-10s    %9.2f %9.2f %8.2f %8.2f\n", company.name,
                  percentile(company.ms, 0.5), percentile(company.ms, 0.99), ratio50, ratio99);
    }
    report_["exported_rows"] = exported_;
    report_["pruned_rows"] = pruned_;
    note("prune_slice", slice_ms_);
    std::printf(
        "meanwhile %lu attempts were exported and %lu rows pruned in %zu slices: p50 %.2f ms, p99 "
        "%.2f ms\n",
        exported_, pruned_, slice_ms_.size(), percentile(slice_ms_, 0.5),
        percentile(slice_ms_, 0.99));
    return {};
  }

  void note(const std::string& what, const std::vector<double>& ms) {
    report_[what + "_p50_ms"] = percentile(ms, 0.5);
    report_[what + "_p99_ms"] = percentile(ms, 0.99);
  }

  const Options options_;
  const std::filesystem::path folder_;
  const bool is_kept_;
  const HistoryShape shape_;
  const AsioClock clock_;
  Rng rng_;
  HistoryRows rows_;
  std::unique_ptr<runner::SqliteStore> store_;
  std::string export_cursor_;
  std::uint64_t exported_ = 0, pruned_ = 0;
  std::vector<double> slice_ms_;  ///< Of the slices that removed something.
  Report report_;
};

Result<Report> run(const Options& options) {
  if (!options.use_dir.empty()) {
    const auto kept = readKept(options.use_dir);
    if (!kept) return kept.error();
    return HistoryBench(options, std::filesystem::absolute(options.use_dir), *kept).run();
  }
  auto folder = ScratchFolder::make(options.keep_dir);
  if (!folder) return folder.error();
  return HistoryBench(options, folder->path(), std::nullopt).run();
}

}  // namespace

void addHistory(CLI::App& app, Benchmark& chosen) {
  CLI::App* const command = app.add_subcommand(
      "history", "The store with a large history: inserts, pages, stats, commits beside them");
  auto options = std::make_shared<Options>();
  command->add_option("--rows", options->shape.attempts, "Attempts in the history")
      ->check(CLI::Range(1'000, 100'000'000))
      ->capture_default_str();
  command->add_option("--hosts", options->shape.hosts, "Hosts that they ran on")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  command->add_option("--vms", options->shape.vms, "VMs that they were of")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--per-host-day", options->shape.per_host_day, "Attempts of one host a day")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--pages", options->pages, "Random pages to read")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--stats", options->stats, "Random hosts and days to sum up")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command
      ->add_option("--rounds", options->rounds, "Times that commits are measured in each company")
      ->check(CLI::Range(1, 1'000))
      ->capture_default_str();
  command
      ->add_option("--export-rows", options->export_rows,
                   "Attempts to export as CSV and as NDJSON, 0: none")
      ->check(CLI::Range(0, 100'000'000))
      ->capture_default_str();
  command->add_option("--seed", options->shape.seed, "Of the rows and of what is asked")
      ->capture_default_str();
  auto* const keep = command->add_option("--keep-dir", options->keep_dir,
                                         "Keep the database in this new or empty folder");
  command
      ->add_option("--use-dir", options->use_dir,
                   "Fill none: measure the database that was kept in this folder")
      ->excludes(keep);
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace vms::bench
