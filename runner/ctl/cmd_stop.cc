#include <CLI/App.hpp>
#include <algorithm>
#include <memory>
#include <set>

#include "runner/ctl/commands.h"
#include "runner/ctl/follow.h"
#include "runner/ctl/output.h"

/// stop.
namespace vms::runner::ctl {
namespace {

constexpr Duration kAskEvery = milliseconds(500);
/// Above it, one list of all VMs costs less than asking for each.
constexpr std::size_t kAskEach = 20;

/// Removes from `waiting` (ids) what has stopped or is gone.
Outcome<void> removeStopped(ApiClient& api, std::set<std::string>& waiting) {
  if (waiting.size() > kAskEach) {
    const auto rows = api.getAll("/v1/vms", {}, "vms", SIZE_MAX);
    if (!rows) return rows.error();
    std::set<std::string> left;
    for (const auto& row : *rows) {
      if (!row.is_object()) continue;
      const std::string id = stringOf(row.get_object(), "vm_id");
      if (waiting.contains(id) && stringOf(row.get_object(), "state") != "stopped") left.insert(id);
    }
    waiting = std::move(left);
    return {};
  }
  const std::set<std::string> asked = waiting;
  for (const std::string& id : asked) {
    const auto view = objectOf(api.get("/v1/vms/" + encode(id)));
    if (!view && view.error().status != kExitFailed) return view.error();
    if (!view || stringOf(*view, "state") == "stopped") waiting.erase(id);
  }
  return {};
}

Outcome<int> waitStopped(ApiClient& api, std::set<std::string> waiting, TimePoint deadline) {
  while (!waiting.empty()) {
    const auto asked = removeStopped(api, waiting);
    // The engine may be restarting.
    if (!asked && asked.error().status != kExitUnreachable) return asked.error();
    if (waiting.empty()) break;
    const TimePoint now = api.clock().now();
    if (now >= deadline) {
      return Failure(kExitTimeout, std::to_string(waiting.size()) +
                                       " VMs have not stopped when --timeout ends; wait longer or "
                                       "stop them with --force");
    }
    api.pause(std::min(kAskEvery, deadline - now));
  }
  return kExitOk;
}

Outcome<int> stop(const Settings& settings, const VmChoice& choice, bool force, bool wait) {
  auto body = selectionOf(choice);
  if (!body) return body.error();
  auto api = ApiClient::open(settings);
  if (!api) return api.error();
  const TimePoint deadline = deadlineOf(settings, api->clock());
  if (force) (*body)["force"] = true;
  const auto rows = rowsOf(api->send("POST", "/v1/vms:stop", std::move(*body)), "vms");
  if (!rows) return rows.error();
  int status = kExitOk;
  std::set<std::string> stopping;
  for (const auto& row : *rows) {
    if (!row.is_object()) continue;
    const std::string state = stringOf(row.get_object(), "state");
    if (state == "refused") status = kExitFailed;
    if (state == "stopping") stopping.insert(stringOf(row.get_object(), "vm_id"));
  }
  printRows(settings, *rows, {{"vm_name", "VM"}, {"state", "STATE"}, {"error", "ERROR"}});
  if (!wait) return status;
  const auto waited = waitStopped(*api, std::move(stopping), deadline);
  if (!waited) return waited.error();
  return status;
}

}  // namespace

void addStopCommand(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("stop", "Stop VMs and cancel their queued runs");
  auto choice = std::make_shared<VmChoice>();
  auto force = std::make_shared<bool>(false);
  auto wait = std::make_shared<bool>(false);
  addVmChoice(*command, *choice);
  command->add_flag("--force", *force, "Pull the plug instead of asking the guest");
  command->add_flag("--wait", *wait, "Until all have stopped");
  command->callback([&action, choice, force, wait]() {
    action = [choice, force, wait](const Settings& s) { return stop(s, *choice, *force, *wait); };
  });
}

}  // namespace vms::runner::ctl
