#include "runner/ctl/commands.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <set>

namespace vms::runner::ctl {

void addList(CLI::App& command, const std::string& name, std::vector<std::string>& values,
             const std::string& help, const std::string& value_name, bool commas) {
  auto* option = command.add_option(name, values, help)->allow_extra_args(false);
  option->type_name(value_name);
  option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  if (commas) option->delimiter(',');
}

void addVmChoice(CLI::App& command, VmChoice& choice) {
  command.add_option("VM", choice.vms, "Names or ids")->type_name("");
  command.add_flag("--all", choice.all, "All VMs");
  addList(command, "--selector", choice.selector, "VMs with this label; repeated: with all of them",
          "KEY=VALUE", true);
}

Outcome<json::object> labelsOf(const std::vector<std::string>& pairs, const std::string& option) {
  json::object labels;
  for (const std::string& pair : pairs) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Failure(kExitUsage,
                     fmt::format("{} '{}' has not the form KEY=VALUE; give it so", option, pair));
    }
    const std::string key = pair.substr(0, equals);
    const std::string value = pair.substr(equals + 1);
    if (const auto* before = labels.if_contains(key);
        before != nullptr && *before != json::value(value)) {
      return Failure(
          kExitUsage,
          fmt::format("{} names '{}' twice, with different values; give it once", option, key));
    }
    labels[key] = value;
  }
  return labels;
}

Outcome<json::object> selectionOf(const VmChoice& choice) {
  const int given =
      (choice.vms.empty() ? 0 : 1) + (choice.selector.empty() ? 0 : 1) + (choice.all ? 1 : 0);
  if (given != 1) {
    return Failure(kExitUsage, std::string(given == 0 ? "no VM is named" : "too much is named") +
                                   "; give names, --all or --selector KEY=VALUE, and only one "
                                   "of them");
  }
  json::object selection;
  if (choice.all) selection["all"] = true;
  if (!choice.vms.empty()) {
    json::array names;
    for (const std::string& vm : choice.vms) names.emplace_back(vm);
    selection["vms"] = std::move(names);
  }
  if (!choice.selector.empty()) {
    auto labels = labelsOf(choice.selector, "--selector");
    if (!labels) return labels.error();
    selection["selector"] = std::move(*labels);
  }
  return selection;
}

Outcome<std::vector<std::string>> namesOf(ApiClient& api, const VmChoice& choice) {
  const auto selection = selectionOf(choice);
  if (!selection) return selection.error();
  if (!choice.vms.empty()) {
    std::set<std::string> seen;
    std::vector<std::string> once;
    for (const std::string& vm : choice.vms) {
      if (seen.insert(vm).second) once.push_back(vm);
    }
    return once;
  }
  std::string selector;
  for (const std::string& pair : choice.selector) selector += (selector.empty() ? "" : ",") + pair;
  Query query;
  query.emplace_back("selector", selector);
  const auto rows = api.getAll("/v1/vms", query, "vms", SIZE_MAX);
  if (!rows) return rows.error();
  std::vector<std::string> names;
  for (const auto& row : *rows) {
    const auto* name = row.is_object() ? row.get_object().if_contains("vm_name") : nullptr;
    if (name != nullptr && name->is_string()) names.emplace_back(name->get_string());
  }
  return names;
}

Outcome<json::array> rowsOf(const Outcome<json::value>& answer, std::string_view member) {
  if (!answer) return answer.error();
  const auto* body = answer->if_object();
  const auto* rows = body == nullptr ? nullptr : body->if_contains(member);
  if (rows == nullptr || !rows->is_array()) {
    return Failure(kExitFailed, "the answer has no list '" + std::string(member) +
                                    "'; check that --server names an engine of this version");
  }
  return rows->get_array();
}

Outcome<json::object> objectOf(const Outcome<json::value>& answer) {
  if (!answer) return answer.error();
  if (const auto* body = answer->if_object()) return *body;
  return Failure(kExitFailed,
                 "the answer is no object; check that --server names an engine of this version");
}

}  // namespace vms::runner::ctl
