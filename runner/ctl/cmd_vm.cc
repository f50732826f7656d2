#include <CLI/App.hpp>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <set>

#include "runner/ctl/commands.h"
#include "runner/ctl/output.h"
#include "schema/base/cli_text.h"
#include "schema/base/files.h"

/// vm define, list, show, set, undefine.
namespace vms::runner::ctl {
namespace {

constexpr std::size_t kXmlBytes = 16u << 20;

struct SettingOptions {
  std::optional<int> priority, tier;
  std::string ha, gate;
  std::vector<std::string> after, labels;
  bool no_after = false;
};

constexpr const char* kRestartSettings =
    "--ha, --tier and --after are for the restart of VMs after the loss of a host. This version\n"
    "keeps them and restarts nothing by itself; 'run' starts VMs without regard to them.\n"
    "VMs are defined in any order, so --after may name one that is defined later: that is told on\n"
    "stderr, and until then nothing waits for it.";

void addSettings(CLI::App& command, SettingOptions& options) {
  command
      .add_option("--priority", options.priority, "0 to 100, higher starts first; a new VM has 50")
      ->type_name("N")
      ->check(CLI::Range(0, 100));
  command
      .add_option("--ha", options.ha,
                  "What is to happen after the loss of its host; a new VM has off")
      ->type_name("")
      ->check(CLI::IsMember({"restart", "off"}));
  command
      .add_option("--tier", options.tier,
                  "0 to 9, lower restarts first after the loss of a host; a new VM has 5")
      ->type_name("N")
      ->check(CLI::Range(0, 9));
  addList(command, "--after", options.after,
          "VMs that restart before it after the loss of a host; may repeat", "VM", true);
  command.add_flag("--no-after", options.no_after, "After no other VM any more");
  command
      .add_option("--gate", options.gate,
                  "When it counts as ready: running, or a time after it, as delay:30s; a new VM "
                  "has running")
      ->type_name("GATE");
  addList(command, "--label", options.labels, "Label; may repeat", "KEY=VALUE", false);
}

Outcome<json::object> settingsOf(const SettingOptions& options) {
  json::object body;
  if (options.no_after && !options.after.empty()) {
    return Failure(kExitUsage, "--after and --no-after contradict each other; give one of them");
  }
  if (options.no_after) body["after"] = json::array();
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
  return {{"vm_name", "NAME"},
          {"state", "STATE", false, true},
          {"host", "HOST"},
          {"priority", "PRIO"},
          {"ha", "HA"},
          {"tier", "TIER"},
          {"state_reason", "WHY", true},
          {"vm_id", "ID", true}};
}

/// A name in --after may be a slip; it may also be a VM that is defined next.
void tellUndefined(const SettingOptions& options, const json::array& vms) {
  if (options.after.empty()) return;
  std::set<std::string> told;
  for (const auto& vm : vms) {
    const auto* names = vm.is_object() ? vm.get_object().if_contains("after_undefined") : nullptr;
    if (names == nullptr || !names->is_array()) continue;
    for (const auto& value : names->get_array()) {
      const std::string name = cellOf(value);
      if (!told.insert(name).second) continue;
      std::fprintf(stderr,
                   "vmsctl: no VM is called '%s' yet; nothing waits for it until one is defined "
                   "('vmsctl vm list' shows those that are)\n",
                   name.c_str());
    }
  }
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
    if (xml->empty()) {
      return Failure(kExitFailed, (file == "-" ? "stdin" : file) + " is empty; give domain XML");
    }
    (*body)["xml"] = *xml;
    const auto rows = rowsOf(api->send("POST", "/v1/vms", *body), "vms");
    if (!rows) {
      return Failure(rows.error().status,
                     (file == "-" ? "stdin" : file) + ": " + rows.error().message);
    }
    for (const auto& row : *rows) {
      if (settings.format() == Output::Table && row.is_object()) {
        put(stringOf(row.get_object(), "vm_id") + "\n");
      }
      defined.push_back(row);
    }
  }
  if (settings.format() != Output::Table) printRows(settings, defined, columns());
  tellUndefined(options, defined);
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
      ->type_name("")
      ->required();
  addSettings(*command, *options);
  describe(*command,
           "All VMs of a file are defined, or none. The same name and UUID again update the VM.\n" +
               std::string(kRestartSettings),
           {"vmsctl vm define web1.xml --label tier=web --priority 80",
            "virsh dumpxml db | vmsctl vm define - --ha restart --gate delay:30s"});
  command->callback([&action, files, options]() {
    action = [files, options](const Settings& s) { return define(s, *files, *options); };
  });
}

void addList(CLI::App& vm, Action& action) {
  auto* command = vm.add_subcommand("list", "List VMs by name");
  auto selector = std::make_shared<std::vector<std::string>>();
  ctl::addList(*command, "--selector", *selector, "Those with this label; repeated: with all",
               "KEY=VALUE", true);
  describe(*command, "",
           {"vmsctl vm list --selector tier=web", "vmsctl vm list --output csv > vms.csv"});
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

/// The documents alone; several in one root, so that they can be defined again.
void printXml(const json::array& vms) {
  if (vms.size() != 1) put("<domains>\n");
  for (const auto& vm : vms) put(stringOf(vm.get_object(), "xml") + "\n");
  if (vms.size() != 1) put("</domains>\n");
}

Outcome<int> show(const Settings& settings, const VmChoice& choice, bool xml) {
  if (const auto checked = selectionOf(choice); !checked) return checked.error();
  auto api = ApiClient::open(settings);
  if (!api) return api.error();
  const auto names = namesOf(*api, choice);
  if (!names) return names.error();
  json::array vms;
  const auto done = forEach(*names, [&](const std::string& name) -> Outcome<int> {
    auto view = objectOf(api->get("/v1/vms/" + encode(name)));
    if (!view) return view.error();
    if (!xml && settings.format() == Output::Table) view->erase("xml");
    vms.emplace_back(std::move(*view));
    return kExitOk;
  });
  const bool one = choice.vms.size() == 1;
  if (!done && vms.empty()) return done.error();
  if (xml) {
    printXml(vms);
  } else if (one) {
    printObject(settings, vms.front().get_object());
  } else if (settings.format() != Output::Table) {
    printRows(settings, vms, columns());
  } else {
    for (std::size_t i = 0; i < vms.size(); ++i) {
      put((i == 0 ? "" : "\n") + listingOf(vms[i].get_object()));
    }
  }
  return done;
}

void addShow(CLI::App& vm, Action& action) {
  auto* command = vm.add_subcommand("show", "Show VMs with their settings and newest attempt");
  auto choice = std::make_shared<VmChoice>();
  auto xml = std::make_shared<bool>(false);
  addVmChoice(*command, *choice);
  command->add_flag("--xml", *xml, "Only the domain XML; of several VMs in one <domains>");
  describe(*command, "", {"vmsctl vm show web1", "vmsctl vm show --all --xml > vms.xml"});
  command->callback([&action, choice, xml]() {
    action = [choice, xml](const Settings& settings) { return show(settings, *choice, *xml); };
  });
}

void addSet(CLI::App& vm, Action& action) {
  auto* command = vm.add_subcommand("set", "Change settings of VMs");
  auto choice = std::make_shared<VmChoice>();
  auto options = std::make_shared<SettingOptions>();
  addVmChoice(*command, *choice);
  addSettings(*command, *options);
  describe(*command,
           "What is not given stays as it is. A label with an empty value is removed.\n" +
               std::string(kRestartSettings),
           {"vmsctl vm set web1 --priority 80", "vmsctl vm set --selector tier=web --ha restart",
            "vmsctl vm set db --label tier="});
  command->callback([&action, choice, options]() {
    action = [choice, options](const Settings& settings) -> Outcome<int> {
      const auto body = settingsOf(*options);
      if (!body) return body.error();
      if (body->empty()) {
        return Failure(kExitUsage,
                       "no setting is named; give --ha, --priority, --tier, --after, "
                       "--no-after, --gate or --label");
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
      if (done || !changed.empty()) printRows(settings, changed, columns());
      tellUndefined(*options, changed);
      return done;
    };
  });
}

void addUndefine(CLI::App& vm, Action& action) {
  auto* command = vm.add_subcommand("undefine", "Forget VMs that are stopped");
  auto choice = std::make_shared<VmChoice>();
  addVmChoice(*command, *choice);
  describe(*command, "A VM whose attempt is open or unknown is refused: stop it first.",
           {"vmsctl vm undefine web1 web2", "vmsctl vm undefine --selector tier=test"});
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
      if (done || !gone.empty())
        printRows(settings, gone, {{"vm", "VM"}, {"state", "STATE", false, true}});
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
