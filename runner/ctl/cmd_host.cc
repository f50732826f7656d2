#include <fmt/format.h>

#include <CLI/App.hpp>
#include <cstdio>
#include <memory>

#include "runner/ctl/commands.h"
#include "runner/ctl/output.h"
#include "runner/ctl/text_width.h"
#include "schema/base/cli_text.h"
#include "schema/base/counted.h"

/// host list, show, staging, drain, activate, confirm, forget.
namespace vms::runner::ctl {
namespace {

std::vector<Column> columns() {
  return {{"host", "HOST"},
          {"state", "STATE", false, true},
          {"running", "RUNNING"},
          {"staged", "STAGED"},
          {"queue_depth", "QUEUE"},
          {"lanes", "LANES"},
          {"memory_text", "MEMORY"},
          {"free_text", "FREE"},
          {"starts_per_s", "STARTS/S"},
          {"state_reason", "WHY", true}};
}

/// Adds what only a table shows.
json::array forTable(json::array rows) {
  for (auto& row : rows) {
    if (!row.is_object()) continue;
    auto& host = row.get_object();
    host["lanes"] = cellOf(host, "lane_busy") + "/" + cellOf(host, "lane_width");
    host["memory_text"] = bytesOf(numberOf(host, "memory"));
    host["free_text"] = bytesOf(numberOf(host, "memory_free"));
  }
  return rows;
}

void print(const Settings& settings, json::array rows) {
  if (settings.format() == Output::Table) rows = forTable(std::move(rows));
  printRows(settings, rows, columns());
}

void addShow(CLI::App& host, Action& action) {
  auto* command = host.add_subcommand("show", "Show a host");
  describe(*command, "", {"vmsctl host show host1", "vmsctl host show host1 --output json"});
  auto name = std::make_shared<std::string>();
  command->add_option("HOST", *name, "Name of the host")->type_name("")->required();
  command->callback([&action, name]() {
    action = [name](const Settings& settings) -> Outcome<int> {
      auto api = ApiClient::open(settings);
      if (!api) return api.error();
      const auto view = objectOf(api->get("/v1/hosts/" + encode(*name)));
      if (!view) return view.error();
      printObject(settings, *view);
      return kExitOk;
    };
  });
}

void addStaging(CLI::App& host, Action& action) {
  auto* command = host.add_subcommand("staging", "List what a host is building");
  describe(*command, "", {"vmsctl host staging host1"});
  auto name = std::make_shared<std::string>();
  command->add_option("HOST", *name, "Name of the host")->type_name("")->required();
  command->callback([&action, name]() {
    action = [name](const Settings& settings) -> Outcome<int> {
      auto api = ApiClient::open(settings);
      if (!api) return api.error();
      const auto rows = rowsOf(api->get("/v1/hosts/" + encode(*name) + "/staging"), "staging");
      if (!rows) return rows.error();
      printRows(settings, *rows,
                {{"vm_name", "VM"},
                 {"state", "STATE", false, true},
                 {"since", "SINCE"},
                 {"epoch", "EPOCH"},
                 {"attempt_id", "ATTEMPT", true}});
      return kExitOk;
    };
  });
}

/// Says which confirmed hosts wait for another confirmation, and what that one is for.
void tellWhatIsLeft(const json::array& confirmed) {
  for (const auto& value : confirmed) {
    const auto& host = value.get_object();
    const auto* moved = host.if_contains("moved_domains");
    if (moved == nullptr || !moved->is_array() || moved->get_array().empty()) continue;
    const std::string name = printable(stringOf(host, "host"));
    const std::string count = counted(moved->get_array().size(), "VM");
    std::fprintf(stderr,
                 "vmsctl: host '%s' is confirmed, but not that %s that somebody moved away from it "
                 "ended ('vmsctl host show %s' names what moved); end what has moved where it is, "
                 "then 'vmsctl host confirm %s' again\n",
                 name.c_str(), count.c_str(), name.c_str(), name.c_str());
  }
}

/// Posts to each of the hosts and shows them as they are then. The first refusal ends it; those
/// before it are changed and shown.
Outcome<int> changeEach(const Settings& settings, const std::vector<std::string>& names,
                        const std::string& what) {
  auto api = ApiClient::open(settings);
  if (!api) return api.error();
  json::array changed;
  Outcome<int> done = kExitOk;
  for (const std::string& name : names) {
    auto view = objectOf(api->send("POST", "/v1/hosts/" + encode(name) + ":" + what, std::nullopt));
    if (!view) {
      done = view.error();
      break;
    }
    changed.emplace_back(std::move(*view));
  }
  if (done || !changed.empty()) print(settings, changed);
  if (what == "confirm") tellWhatIsLeft(changed);
  return done;
}

/// A command that changes each of the named hosts.
void addChange(CLI::App& host, const std::string& verb, const char* help, const char* details,
               Action& action) {
  auto* command = host.add_subcommand(verb, help);
  describe(*command, details, {"vmsctl host " + verb + " host1"});
  auto names = std::make_shared<std::vector<std::string>>();
  command->add_option("HOST", *names, "Names of hosts")->type_name("")->required();
  command->callback([&action, names, verb]() {
    action = [names, verb](const Settings& settings) { return changeEach(settings, *names, verb); };
  });
}

void addForget(CLI::App& host, Action& action) {
  auto* command = host.add_subcommand("forget", "Forget hosts that are off for good");
  describe(
      *command,
      "A forgotten host is listed no more, and nothing waits for it, also not after a restore. "
      "Its history stays. Refused while its agent is connected, or while VMs may run there. "
      "Should it come back, it is quarantined. Takes the role admin.",
      {"vmsctl host forget host1", "vmsctl host forget host1 --fenced"});
  auto names = std::make_shared<std::vector<std::string>>();
  auto fenced = std::make_shared<bool>(false);
  command->add_option("HOST", *names, "Names of hosts")->type_name("")->required();
  command->add_flag("--fenced", *fenced,
                    "You have made sure that the machines are off: VMs that may run there count as "
                    "ended, and may be started elsewhere");
  command->callback([&action, names, fenced]() {
    action = [names, fenced](const Settings& settings) {
      return changeEach(settings, *names, *fenced ? "forget?fenced=true" : "forget");
    };
  });
}

}  // namespace

void addHostCommands(CLI::App& app, Action& action) {
  auto* host = app.add_subcommand("host", "Show and change hosts");
  host->require_subcommand(1);
  auto* list = host->add_subcommand("list", "List hosts");
  describe(*list, "", {"vmsctl host list"});
  list->callback([&action]() {
    action = [](const Settings& settings) -> Outcome<int> {
      auto api = ApiClient::open(settings);
      if (!api) return api.error();
      auto rows = rowsOf(api->get("/v1/hosts"), "hosts");
      if (!rows) return rows.error();
      print(settings, std::move(*rows));
      return kExitOk;
    };
  });
  addShow(*host, action);
  addStaging(*host, action);
  addChange(*host, "drain", "Place nothing more on hosts",
            "What runs there goes on. The setting outlives restarts of engine and host.", action);
  addChange(*host, "activate", "Place VMs on hosts again", "", action);
  addChange(*host, "confirm", "Confirm hosts after an alarm, a quarantine or a restore",
            "Look at the host first: 'vmsctl host show' tells what is wrong, what runs there "
            "outside our control, and what somebody moved away from there. Of a host without an "
            "alarm that waits for no confirmation it says that what was moved away has ended, so "
            "that it may be started again. A host with both needs two confirmations; the answer to "
            "the first one says so. Takes the role admin.",
            action);
  addForget(*host, action);
}

}  // namespace vms::runner::ctl
