#include <CLI/App.hpp>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>

#include "runner/ctl/commands.h"
#include "runner/ctl/output.h"
#include "schema/base/files.h"

/// vm define, list, show, set, undefine.
namespace vms::runner::ctl {
namespace {

constexpr std::size_t kXmlBytes = 16u << 20;

struct SettingOptions {
  std::optional<int> priority, tier;
  std::string ha, gate;
  std::vector<std::string> after, labels;
};

void addSettings(CLI::App& command, SettingOptions& options) {
  command.add_option("--priority", options.priority, "0 to 100, higher starts first")
      ->check(CLI::Range(0, 100));
  command.add_option("--ha", options.ha, "What happens when the host is lost: restart or off")
      ->check(CLI::IsMember({"restart", "off"}));
  command.add_option("--tier", options.tier, "0 to 9, lower starts first")->check(CLI::Range(0, 9));
  addList(command, "--after", options.after, "VMs that must be up before", true);
  command.add_option("--gate", options.gate,
                     "When later tiers may follow: running, guest-agent or delay:30s");
  addList(command, "--label", options.labels, "KEY=VALUE; may repeat", false);
}

Outcome<json::object> settingsOf(const SettingOptions& options) {
  json::object body;
  if (options.priority) body["priority"] = *options.priority;
  if (options.tier) body["tier"] = *options.tier;
  if (!options.ha.empty()) body["ha"] = options.ha;
  if (!options.gate.empty()) body["gate"] = options.gate;
  if (!options.after.empty()) {
    json::array after;
    for (const std::string& vm : options.after) after.emplace_back(vm);
    body["after"] = std::move(after);
  }
  if (!options.labels.empty()) {
    auto labels = labelsOf(options.labels, "--label");
    if (!labels) return labels.error();
    body["labels"] = std::move(*labels);
  }
  return body;
}

std::vector<Column> columns() {
  return {{"vm_name", "NAME"}, {"state", "STATE"}, {"host", "HOST"},        {"priority", "PRIO"},
          {"ha", "HA"},        {"tier", "TIER"},   {"state_reason", "WHY"}, {"vm_id", "ID"}};
}

Outcome<std::string> readDocument(const std::string& file) {
  if (file == "-") {
    return std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  }
  auto content = readFile(file, kXmlBytes);
  if (content) return std::move(*content);
  return Failure(kExitUsage, "the domain XML cannot be read: " + content.error().message +
                                 "; give a readable file, or - for stdin");
}

Outcome<int> define(const Settings& settings, const std::vector<std::string>& files,
                    const SettingOptions& options) {
  auto body = settingsOf(options);
  if (!body) return body.error();
  auto api = ApiClient::open(settings);
  if (!api) return api.error();
  json::array defined;
  for (const std::string& file : files) {
    auto xml = readDocument(file);
    if (!xml) return xml.error();
    (*body)["xml"] = std::move(*xml);
    const auto rows = rowsOf(api->send("POST", "/v1/vms", *body), "vms");
    if (!rows) {
      return Failure(rows.error().status,
                     (file == "-" ? "stdin" : file) + ": " + rows.error().message);
    }
    for (const auto& row : *rows) {
      if (settings.format() == Output::Table && row.is_object()) {
        std::printf("%s\n", stringOf(row.get_object(), "vm_id").c_str());
      }
      defined.push_back(row);
    }
  }
  if (settings.format() != Output::Table) printRows(settings, defined, columns());
  return kExitOk;
}

/// Does `each` for all names; the failures come last, in one message.
Outcome<int> forEach(const std::vector<std::string>& names,
                     const std::function<Outcome<int>(const std::string&)>& each) {
  std::optional<Failure> first;
  std::size_t failed = 0;
  for (const std::string& name : names) {
    const auto done = each(name);
    if (done) continue;
    if (done.error().status != kExitFailed) return done.error();
    if (failed++ == 0) first = done.error();
  }
  if (!first) return kExitOk;
  if (failed > 1) first->message += " (and " + std::to_string(failed - 1) + " more failed)";
  return *first;
}

void addDefine(CLI::App& vm, Action& action) {
  auto* command = vm.add_subcommand("define", "Register domain XML; prints each id");
  auto files = std::make_shared<std::vector<std::string>>();
  auto options = std::make_shared<SettingOptions>();
  command->add_option("FILE", *files, "A <domain>, or many in one <domains>; - for stdin")
      ->required();
  addSettings(*command, *options);
  command->callback([&action, files, options]() {
    action = [files, options](const Settings& s) { return define(s, *files, *options); };
  });
}

void addList(CLI::App& vm, Action& action) {
  auto* command = vm.add_subcommand("list", "List VMs by name");
  auto selector = std::make_shared<std::vector<std::string>>();
  ctl::addList(*command, "--selector", *selector, "VMs with the label KEY=VALUE; may repeat", true);
  command->callback([&action, selector]() {
    action = [selector](const Settings& settings) -> Outcome<int> {
      if (const auto labels = labelsOf(*selector, "--selector"); !labels) return labels.error();
      auto api = ApiClient::open(settings);
      if (!api) return api.error();
      std::string text;
      for (const std::string& pair : *selector) text += (text.empty() ? "" : ",") + pair;
      Query query;
      query.emplace_back("selector", text);
      const auto rows = api->getAll("/v1/vms", query, "vms", SIZE_MAX);
      if (!rows) return rows.error();
      printRows(settings, *rows, columns());
      return kExitOk;
    };
  });
}

void addShow(CLI::App& vm, Action& action) {
  auto* command = vm.add_subcommand("show", "Show a VM");
  auto name = std::make_shared<std::string>();
  auto xml = std::make_shared<bool>(false);
  command->add_option("VM", *name, "Name or id")->required();
  command->add_flag("--xml", *xml, "Only its domain XML");
  command->callback([&action, name, xml]() {
    action = [name, xml](const Settings& settings) -> Outcome<int> {
      auto api = ApiClient::open(settings);
      if (!api) return api.error();
      auto view = objectOf(api->get("/v1/vms/" + encode(*name)));
      if (!view) return view.error();
      if (*xml) {
        std::printf("%s\n", stringOf(*view, "xml").c_str());
        return kExitOk;
      }
      if (settings.format() == Output::Table) view->erase("xml");
      printObject(settings, *view);
      return kExitOk;
    };
  });
}

void addSet(CLI::App& vm, Action& action) {
  auto* command = vm.add_subcommand("set", "Change settings of VMs");
  auto choice = std::make_shared<VmChoice>();
  auto options = std::make_shared<SettingOptions>();
  addVmChoice(*command, *choice);
  addSettings(*command, *options);
  command->callback([&action, choice, options]() {
    action = [choice, options](const Settings& settings) -> Outcome<int> {
      const auto body = settingsOf(*options);
      if (!body) return body.error();
      if (body->empty()) {
        return Failure(kExitUsage,
                       "no setting is named; give --ha, --priority, --tier, --after, "
                       "--gate or --label");
      }
      if (const auto checked = selectionOf(*choice); !checked) return checked.error();
      auto api = ApiClient::open(settings);
      if (!api) return api.error();
      const auto names = namesOf(*api, *choice);
      if (!names) return names.error();
      json::array changed;
      const auto done = forEach(*names, [&](const std::string& name) -> Outcome<int> {
        auto view = objectOf(api->send("PATCH", "/v1/vms/" + encode(name), *body));
        if (!view) return view.error();
        view->erase("xml");
        changed.emplace_back(std::move(*view));
        return kExitOk;
      });
      printRows(settings, changed, columns());
      return done;
    };
  });
}

void addUndefine(CLI::App& vm, Action& action) {
  auto* command = vm.add_subcommand("undefine", "Forget VMs that are stopped");
  auto choice = std::make_shared<VmChoice>();
  addVmChoice(*command, *choice);
  command->callback([&action, choice]() {
    action = [choice](const Settings& settings) -> Outcome<int> {
      if (const auto checked = selectionOf(*choice); !checked) return checked.error();
      auto api = ApiClient::open(settings);
      if (!api) return api.error();
      const auto names = namesOf(*api, *choice);
      if (!names) return names.error();
      json::array gone;
      const auto done = forEach(*names, [&](const std::string& name) -> Outcome<int> {
        const auto answer = api->send("DELETE", "/v1/vms/" + encode(name), std::nullopt);
        if (!answer) return answer.error();
        json::object row;
        row["vm"] = name;
        row["state"] = "undefined";
        gone.emplace_back(std::move(row));
        return kExitOk;
      });
      printRows(settings, gone, {{"vm", "VM"}, {"state", "STATE"}});
      return done;
    };
  });
}

}  // namespace

void addVmCommands(CLI::App& app, Action& action) {
  auto* vm = app.add_subcommand("vm", "Define and show VMs");
  vm->require_subcommand(1);
  addDefine(*vm, action);
  addList(*vm, action);
  addShow(*vm, action);
  addSet(*vm, action);
  addUndefine(*vm, action);
}

}  // namespace vms::runner::ctl
