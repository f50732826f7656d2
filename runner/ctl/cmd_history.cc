#include <fmt/format.h>

#include <CLI/App.hpp>
#include <cstdio>
#include <memory>

#include "runner/ctl/commands.h"
#include "runner/ctl/output.h"
#include "schema/base/time.h"

/// history: attempts, newest first, or figures about them.
namespace vms::runner::ctl {
namespace {

struct HistoryOptions {
  std::string host, vm, request, since, until, outcome, reason;
  std::size_t limit = 100;
  bool stats = false;
};

std::vector<Column> columns() {
  return {{"requested_at", "REQUESTED"},
          {"vm_name", "VM"},
          {"host", "HOST"},
          {"state", "STATE"},
          {"outcome", "OUTCOME"},
          {"reason", "REASON"},
          {"took", "TOOK"},
          {"error_class", "ERROR"},
          {"error", "DETAIL"}};
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
    printObject(settings, *stats);
    return kExitOk;
  }
  const auto* rate = stats->if_contains("success_rate");
  std::printf("%s attempts, %s succeeded, %s failed, %s cancelled, success rate %s\n",
              cellOf(*stats, "count").c_str(), cellOf(*stats, "succeeded").c_str(),
              cellOf(*stats, "failed").c_str(), cellOf(*stats, "cancelled").c_str(),
              rate == nullptr || !rate->is_number()
                  ? "-"
                  : fmt::format("{:.1f} %", numberOf(*stats, "success_rate") * 100).c_str());
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
  auto rows = api->getAll("/v1/history", query, "attempts", options.limit);
  if (!rows) return rows.error();
  if (settings.format() == Output::Table) addTook(*rows);
  printRows(settings, *rows, columns());
  return kExitOk;
}

}  // namespace

void addHistoryCommand(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("history", "List attempts, newest first");
  auto options = std::make_shared<HistoryOptions>();
  command->add_option("--host", options->host, "On this host");
  command->add_option("--vm", options->vm, "Of this VM, by name or id");
  command->add_option("--request", options->request, "Of this request");
  command->add_option("--since", options->since, "Requested since a time, or 2h ago");
  command->add_option("--until", options->until, "Requested before a time, or 2h ago");
  command->add_option("--outcome", options->outcome, "succeeded, failed or cancelled")
      ->check(CLI::IsMember({"succeeded", "failed", "cancelled"}));
  command->add_option("--reason", options->reason, "user, ha or rerun")
      ->check(CLI::IsMember({"user", "ha", "rerun"}));
  command->add_option("--limit", options->limit, "At most so many (default 100)")
      ->check(CLI::Range(std::size_t{1}, std::size_t{100'000'000}));
  command->add_flag("--stats", options->stats, "Counts, success rate and percentiles per phase");
  command->callback([&action, options]() {
    action = [options](const Settings& settings) { return history(settings, *options); };
  });
}

}  // namespace vms::runner::ctl
