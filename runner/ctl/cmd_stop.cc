#include <unistd.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <memory>

#include "runner/ctl/commands.h"
#include "runner/ctl/follow.h"
#include "runner/ctl/interrupt.h"
#include "runner/ctl/output.h"
#include "runner/ctl/progress.h"
#include "schema/base/cli_text.h"

/// stop.
namespace vms::runner::ctl {
namespace {

constexpr Duration kAskEvery = milliseconds(500);
/// Above it, one list of all VMs costs less than asking for each.
constexpr std::size_t kAskEach = 20;

/// What the engine answered, one row per VM, kept up to date until nothing is stopping any more.
class Stopping {
 public:
  Stopping(ApiClient& api, const Settings& settings, json::array rows, TimePoint started)
      : api_(api),
        progress_(started, stopCounting()),
        printer_(screenOf(STDERR_FILENO, settings.colour())) {
    for (auto& row : rows) {
      if (row.is_object()) rows_.push_back(std::move(row));
    }
  }

  Outcome<void> wait(TimePoint deadline) {
    bool told_away = false;
    for (;;) {
      progress_.merge(counts(), api_.clock().now());
      const auto left = static_cast<std::size_t>(numberOf(progress_.view(), "stopping"));
      if (left == 0) break;
      if (!told_away) printer_.show(progress_, api_.clock().now());
      const TimePoint now = api_.clock().now();
      if (interrupted() || now >= deadline) {
        printer_.finish(progress_, now);
        return interrupted() ? interruptedWith(left) : timedOutWith(left);
      }
      api_.pause(std::min(kAskEvery, deadline - now));
      const auto asked = ask(left);
      if (!asked && interrupted()) continue;
      // The engine may be restarting.
      if (!asked && asked.error().status != kExitUnreachable) return asked.error();
      if (!asked && !told_away) printer_.note("the engine is away; waiting for it to come back");
      told_away = !asked;
    }
    printer_.finish(progress_, api_.clock().now());
    return {};
  }

  const json::array& rows() const { return rows_; }

 private:
  static bool isStopping(const json::object& row) { return stringOf(row, "state") == "stopping"; }

  static std::string countOfVms(std::size_t count) {
    return std::to_string(count) + (count == 1 ? " VM is" : " VMs are");
  }
  static Failure interruptedWith(std::size_t left) {
    return Failure(kExitInterrupted,
                   "interrupted: " + countOfVms(left) + " still stopping; see 'vmsctl vm list'");
  }
  static Failure timedOutWith(std::size_t left) {
    return Failure(kExitTimeout, countOfVms(left) +
                                     " not stopped when --timeout ends; wait longer, or use "
                                     "--force");
  }

  json::object counts() const {
    json::object counts;
    for (const char* state : stopCounting().states) counts[state] = 0;
    for (const auto& row : rows_) {
      auto& count = counts[stringOf(row.get_object(), "state")];
      count = count.is_int64() ? count.get_int64() + 1 : 1;
    }
    counts["total"] = rows_.size();
    return counts;
  }

  /// What stopped since; a VM that is gone has stopped, too.
  Outcome<void> ask(std::size_t left) {
    if (left > kAskEach) return askForAll();
    for (auto& row : rows_) {
      json::object& item = row.get_object();
      if (!isStopping(item)) continue;
      const auto view = objectOf(api_.get("/v1/vms/" + encode(stringOf(item, "vm_id"))));
      if (!view && view.error().status != kExitFailed) return view.error();
      if (!view || stringOf(*view, "state") == "stopped") item["state"] = "stopped";
    }
    return {};
  }

  Outcome<void> askForAll() {
    const auto vms = api_.getAll("/v1/vms", {}, "vms", SIZE_MAX);
    if (!vms) return vms.error();
    std::map<std::string, std::string> states;
    for (const auto& vm : *vms) {
      if (!vm.is_object()) continue;
      states[stringOf(vm.get_object(), "vm_id")] = stringOf(vm.get_object(), "state");
    }
    for (auto& row : rows_) {
      json::object& item = row.get_object();
      if (!isStopping(item)) continue;
      const auto found = states.find(stringOf(item, "vm_id"));
      if (found == states.end() || found->second == "stopped") item["state"] = "stopped";
    }
    return {};
  }

  ApiClient& api_;
  json::array rows_;
  Progress progress_;
  ProgressPrinter printer_;
};

struct StopOptions {
  VmChoice choice;
  bool force = false, wait = false;
};

Outcome<int> stop(const Settings& settings, const StopOptions& options) {
  auto body = selectionOf(options.choice);
  if (!body) return body.error();
  auto api = ApiClient::open(settings);
  if (!api) return api.error();
  const TimePoint started = api->clock().now();
  const TimePoint deadline = deadlineOf(settings, api->clock());
  if (options.wait) catchInterrupts();
  if (options.force) (*body)["force"] = true;
  auto rows = rowsOf(api->send("POST", "/v1/vms:stop", std::move(*body)), "vms");
  if (!rows) return rows.error();
  Stopping stopping(*api, settings, std::move(*rows), started);
  const auto waited = options.wait ? stopping.wait(deadline) : Outcome<void>();
  printRows(settings, stopping.rows(),
            {{"vm_name", "VM"}, {"state", "STATE", false, true}, {"error", "ERROR", true}});
  if (!waited) return waited.error();
  for (const auto& row : stopping.rows()) {
    if (stringOf(row.get_object(), "state") == "refused") return kExitFailed;
  }
  return kExitOk;
}

}  // namespace

void addStopCommand(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("stop", "Stop VMs and cancel their queued runs");
  auto options = std::make_shared<StopOptions>();
  addVmChoice(*command, options->choice);
  command->add_flag("--force", options->force, "Pull the plug instead of asking the guest");
  command->add_flag("--wait", options->wait, "Show progress until all have stopped");
  describe(
      *command,
      "Without --force the guest is asked to shut down (ACPI), and may refuse. With --wait the\n"
      "table shows the final states. Exit status 1 when a stop was refused.",
      {"vmsctl stop web1 db", "vmsctl stop --selector tier=web --wait --timeout 2m",
       "vmsctl stop --all --force --wait"});
  command->callback([&action, options]() {
    action = [options](const Settings& s) { return stop(s, *options); };
  });
}

}  // namespace vms::runner::ctl
