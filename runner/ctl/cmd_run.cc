#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>

#include "runner/ctl/commands.h"
#include "runner/ctl/follow.h"
#include "runner/ctl/interrupt.h"
#include "runner/ctl/output.h"
#include "runner/ctl/text_width.h"
#include "schema/base/cli_text.h"
#include "schema/base/counted.h"
#include "schema/base/rng.h"
#include "schema/base/uuid.h"

/// run: one bulk request.
namespace vms::runner::ctl {
namespace {

constexpr Duration kLongestDeadline = std::chrono::hours(7 * 24);

struct RunOptions {
  VmChoice choice;
  std::string host, deadline, key;
  std::vector<std::string> avoid;
  std::optional<int> priority;
  bool paused = false, wait = false, dry_run = false;
};

Outcome<json::object> bodyOf(const RunOptions& options) {
  auto body = selectionOf(options.choice);
  if (!body) return body.error();
  if (!options.host.empty()) (*body)["host"] = options.host;
  if (!options.avoid.empty()) {
    json::array avoid;
    for (const std::string& host : options.avoid) avoid.emplace_back(host);
    (*body)["avoid"] = std::move(avoid);
  }
  if (options.priority) (*body)["priority"] = *options.priority;
  if (options.paused) (*body)["paused"] = true;
  if (!options.deadline.empty()) {
    const auto deadline = parseDuration(options.deadline);
    if (!deadline || toMs(*deadline) < 1 || *deadline > kLongestDeadline) {
      return Failure(kExitUsage, "--deadline '" + options.deadline + "' is no time from 1ms to " +
                                     formatDuration(kLongestDeadline) + "; give one as 60s or 5m");
    }
    (*body)["deadline_ms"] = toMs(*deadline);
  }
  return body;
}

Outcome<int> dryRun(ApiClient& api, const Settings& settings, json::object body) {
  const auto rows = rowsOf(api.send("POST", "/v1/requests?dry_run=true", std::move(body)), "vms");
  if (!rows) return rows.error();
  printRows(settings, *rows,
            {{"vm_name", "VM"},
             {"state", "STATE", false, true},
             {"host", "HOST"},
             {"why_not", "WHY NOT", true}});
  std::map<std::string, std::size_t> per_host;
  std::size_t would_start = 0, refused = 0;
  for (const auto& row : *rows) {
    if (!row.is_object()) continue;
    const json::object& vm = row.get_object();
    const std::string state = stringOf(vm, "state");
    if (!stringOf(vm, "why_not").empty()) {
      ++refused;
    } else if (state == "stopped" || state == "queued" || state == "held") {
      ++would_start;
      ++per_host[stringOf(vm, "host")];
    }
  }
  if (settings.format() == Output::Table) {
    std::string summary =
        fmt::format("\n{} of {} would start", would_start, counted(rows->size(), "VM"));
    for (const auto& [host, count] : per_host) {
      summary += fmt::format("{} {} on {}", host == per_host.begin()->first ? ":" : ",", count,
                             printable(host));
    }
    if (const std::size_t up = rows->size() - would_start - refused; up > 0) {
      summary += fmt::format("; {} run already or are being started", up);
    }
    put(summary + "\n");
  }
  return refused == 0 ? kExitOk : kExitFailed;
}

/// It goes into a header as it is.
Outcome<void> checkKey(const std::string& key) {
  constexpr std::size_t kMost = 255;
  const bool printable =
      std::all_of(key.begin(), key.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (printable && key.size() <= kMost) return {};
  return Failure(kExitUsage, "--key must be 1 to 255 printable ASCII characters");
}

Outcome<int> run(const Settings& settings, const RunOptions& options) {
  if (const auto checked = checkKey(options.key); !checked) return checked.error();
  auto body = bodyOf(options);
  if (!body) return body.error();
  auto api = ApiClient::open(settings);
  if (!api) return api.error();
  if (options.dry_run) return dryRun(*api, settings, std::move(*body));

  if (options.wait) catchInterrupts();
  Follow follow;
  follow.started = api->clock().now();
  follow.deadline = deadlineOf(settings, api->clock());
  Rng rng(seedFromSystem());
  const std::string key =
      options.key.empty() ? makeUuidV7(api->clock().wallNow(), rng).str() : options.key;
  const auto request =
      objectOf(api->sendWithKey("/v1/requests", std::move(*body), key, follow.deadline));
  if (!request) return request.error();
  follow.request_id = stringOf(*request, "request_id");
  follow.accepted = true;
  if (options.wait) return followRequest(*api, settings, follow);
  if (settings.format() == Output::Table) {
    put(follow.request_id + "\n");
  } else {
    printObject(settings, *request);
  }
  return kExitOk;
}

}  // namespace

void addRunCommand(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("run", "Start VMs with one bulk request; prints its id");
  auto options = std::make_shared<RunOptions>();
  addVmChoice(*command, options->choice);
  command->add_option("--host", options->host, "Only on this host")->type_name("HOST");
  addList(*command, "--avoid", options->avoid, "Not on this host; may repeat", "HOST", true);
  command
      ->add_option("--priority", options->priority,
                   "0 to 100, higher starts first; default: each VM's own")
      ->type_name("N")
      ->check(CLI::Range(0, 100));
  command->add_flag("--paused", options->paused, "Leave the guests paused");
  command
      ->add_option("--deadline", options->deadline,
                   "Runs that are not sent to a host by then fail, as 60s, at most 7d; "
                   "default: none")
      ->type_name("TIME");
  command
      ->add_option(
          "--key", options->key,
          "Idempotency key: the same key again returns the same request; default: a new one")
      ->type_name("KEY");
  command->add_flag("--wait", options->wait, "Show progress until all are up or failed");
  command->add_flag("--dry-run", options->dry_run,
                    "Start nothing; say where each would go now, or what it lacks");
  describe(
      *command,
      "A VM that runs already counts as up. Without --wait the request's id is printed at once.\n"
      "Exit status with --wait: 0 all are up, 1 some failed, 3 --timeout passed; with --dry-run:\n"
      "0 all would be up, 1 some would not. Ctrl-C ends the waiting, not the request.",
      {"vmsctl run --all --wait --timeout 5m", "vmsctl run web1 web2 --avoid host3 --deadline 60s",
       "vmsctl run --selector tier=web --dry-run"});
  command->callback([&action, options]() {
    action = [options](const Settings& settings) { return run(settings, *options); };
  });
}

}  // namespace vms::runner::ctl
