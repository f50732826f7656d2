#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>
#include <utility>

#include "runner/ctl/commands.h"
#include "runner/ctl/output.h"
#include "schema/base/cli_text.h"
#include "schema/base/counted.h"
#include "schema/base/time.h"

/// history: attempts, newest first, or figures about them.
namespace vms::runner::ctl {
namespace {

constexpr std::size_t kAll = 100'000'000;

struct HistoryOptions {
  std::string host, vm, request, since, until, outcome, reason;
  std::size_t limit = 100;
  bool stats = false;
};

std::vector<Column> columns() {
  return {{"requested_at", "REQUESTED", true},
          {"vm_name", "VM"},
          {"host", "HOST"},
          {"state", "STATE", false, true},
          {"outcome", "OUTCOME", false, true},
          {"reason", "REASON"},
          {"took", "TOOK"},
          {"error_class", "ERROR", true},
          {"error", "DETAIL", true}};
}

/// A time, or how long ago.
Outcome<std::string> timeOf(const std::string& text, const std::string& option, WallTime now) {
  if (text.empty()) return text;
  if (const auto ago = parseDuration(text)) return formatRfc3339(now - *ago);
  if (const auto time = parseRfc3339(text)) return formatRfc3339(*time);
  return Failure(kExitUsage, option + " '" + text +
                                 "' is no time; give one as 2026-11-20T08:15:00Z, or 2h for two "
                                 "hours ago");
}

/// From the request to running.
void addTook(json::array& rows) {
  for (auto& row : rows) {
    if (!row.is_object()) continue;
    auto& attempt = row.get_object();
    const auto begin = parseRfc3339(stringOf(attempt, "requested_at"));
    const auto end = parseRfc3339(stringOf(attempt, "running_at"));
    if (begin && end) {
      attempt["took"] = spanOf(static_cast<double>(end->unix_ms - begin->unix_ms));
    }
  }
}

Outcome<int> showStats(ApiClient& api, const Settings& settings, const Query& query) {
  const auto stats = objectOf(api.get("/v1/history/stats" + queryText(query)));
  if (!stats) return stats.error();
  if (settings.format() != Output::Table) {
    const auto* phases = stats->if_contains("phases");
    if (settings.format() == Output::Csv && phases != nullptr && phases->is_array()) {
      printRows(settings, phases->get_array(), {});
    } else {
      printObject(settings, *stats);
    }
    return kExitOk;
  }
  const auto* rate = stats->if_contains("success_rate");
  put(fmt::format("{}, {} succeeded, {} failed, {} cancelled, success rate {}\n",
                  counted(static_cast<std::uint64_t>(numberOf(*stats, "count")), "attempt"),
                  cellOf(*stats, "succeeded"), cellOf(*stats, "failed"),
                  cellOf(*stats, "cancelled"),
                  rate == nullptr || !rate->is_number()
                      ? "-"
                      : fmt::format("{:.1f} %", numberOf(*stats, "success_rate") * 100)));
  const auto* phases = stats->if_contains("phases");
  if (phases == nullptr || !phases->is_array()) return kExitOk;
  printRows(settings, phases->get_array(),
            {{"phase", "PHASE"},
             {"count", "COUNT"},
             {"p50_ms", "P50 MS"},
             {"p95_ms", "P95 MS"},
             {"p99_ms", "P99 MS"}});
  return kExitOk;
}

/// As the engine streams it; only the form of a JSON list is made here, line by line.
Outcome<int> exportRows(ApiClient& api, const Settings& settings, Query query, std::size_t limit) {
  const bool csv = settings.format() == Output::Csv;
  query.emplace_back("limit", std::to_string(limit));
  query.emplace_back("format", csv ? "csv" : "ndjson");
  const std::string target = "/v1/history" + queryText(query);
  if (settings.format() != Output::Json) {
    const auto done = api.download(target, [](std::string_view piece) { return put(piece); });
    if (!done) return done.error();
    return kExitOk;
  }
  bool in_line = false;
  bool any = false;
  // Nothing is printed before it is known that there is a list.
  const auto done = api.download(target, [&](std::string_view piece) {
    while (!piece.empty()) {
      const std::size_t end = piece.find('\n');
      if (!in_line && end != 0) put(std::exchange(any, true) ? ",\n" : "[");
      put(piece.substr(0, end));
      in_line = end == std::string_view::npos;
      piece.remove_prefix(in_line ? piece.size() : end + 1);
    }
    return put("");
  });
  if (!done) return done.error();
  put(any ? "]\n" : "[]\n");
  return kExitOk;
}

Outcome<int> history(const Settings& settings, const HistoryOptions& options) {
  auto api = ApiClient::open(settings);
  if (!api) return api.error();
  const WallTime now = api->clock().wallNow();
  const auto since = timeOf(options.since, "--since", now);
  if (!since) return since.error();
  const auto until = timeOf(options.until, "--until", now);
  if (!until) return until.error();
  Query query;
  query.emplace_back("host", options.host);
  query.emplace_back("vm", options.vm);
  query.emplace_back("request", options.request);
  query.emplace_back("since", *since);
  query.emplace_back("until", *until);
  query.emplace_back("outcome", options.outcome);
  query.emplace_back("reason", options.reason);
  if (options.stats) return showStats(*api, settings, query);
  const std::size_t limit = options.limit == 0 ? kAll : options.limit;
  if (settings.format() != Output::Table) return exportRows(*api, settings, query, limit);
  auto rows = api->getAll("/v1/history", query, "attempts", limit);
  if (!rows) return rows.error();
  addTook(*rows);
  printRows(settings, *rows, columns());
  return kExitOk;
}

}  // namespace

void addHistoryCommand(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("history", "List attempts, newest first");
  auto options = std::make_shared<HistoryOptions>();
  command->add_option("--host", options->host, "On this host")->type_name("HOST");
  command->add_option("--vm", options->vm, "Of this VM, by name or id")->type_name("VM");
  command->add_option("--request", options->request, "Of this request")->type_name("REQUEST");
  command
      ->add_option("--since", options->since,
                   "Requested at or after, as 2h for so long ago, or RFC 3339")
      ->type_name("TIME");
  command->add_option("--until", options->until, "Requested before")->type_name("TIME");
  command->add_option("--outcome", options->outcome, "How they ended")
      ->type_name("")
      ->check(CLI::IsMember({"succeeded", "failed", "cancelled"}));
  command->add_option("--reason", options->reason, "Why they were tried")
      ->type_name("")
      ->check(CLI::IsMember({"user", "ha", "rerun"}));
  command->add_option("--limit", options->limit, "At most so many, 0: all; default 100")
      ->type_name("N")
      ->check(CLI::Range(std::size_t{0}, kAll));
  command
      ->add_flag("--stats", options->stats,
                 "Counts, success rate and percentiles per phase; as csv the percentiles alone")
      ->excludes("--limit");
  describe(
      *command,
      "A TIME is 2026-11-20T08:15:00Z, or 30m, 2h or 7d for so long ago.\n"
      "\n"
      "csv, ndjson and json come as a stream of any length. An error at the beginning prints "
      "nothing but its line on stderr. One that comes later, after rows have been printed, leaves "
      "them there: csv and ndjson end with a line that may be cut, json ends without the closing "
      "bracket, the error stands on stderr, and the exit status is not 0.",
      {"vmsctl history --host host1 --since 2h", "vmsctl history --outcome failed --limit 20",
       "vmsctl history --since 7d --limit 0 --output csv > week.csv", "vmsctl history --stats"});
  command->callback([&action, options]() {
    action = [options](const Settings& settings) { return history(settings, *options); };
  });
}

}  // namespace vms::runner::ctl
