#include "runner/dependency_cycle.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>

namespace vms::runner {
namespace {

constexpr std::size_t kShownVms = 6;

/// `way`: what the VM is after, what that one is after, and so on up to the VM itself.
Error cycleError(const std::vector<std::string>& way) {
  const std::string& vm = way.back();
  std::string text = "VM '" + vm + "' would wait for itself";
  if (way.size() > kShownVms) {
    text += ", over " + std::to_string(way.size() - 1) + " others from '" + way.front() + "' to '" +
            way[way.size() - 2] + "'";
  } else if (way.size() > 1) {
    text += ": '" + vm + "' is after '" + way.front() + "'";
    for (std::size_t i = 1; i < way.size(); ++i) text += ", which is after '" + way[i] + "'";
  }
  return {ErrorClass::Invalid, text + "; leave '" + way.front() + "' out of 'after'"};
}

}  // namespace

Result<void> checkDependencies(const EngineState& state, const std::vector<const VmSpec*>& changed,
                               const std::vector<std::string>& after) {
  std::map<std::string, VmId> names;
  std::map<VmId, std::string> ids;
  for (const VmSpec* spec : changed) {
    names.emplace(spec->name, spec->id);
    ids.emplace(spec->id, spec->name);
  }
  const auto find = [&](const std::string& name_or_id) -> std::optional<VmId> {
    if (const auto name = names.find(name_or_id); name != names.end()) return name->second;
    if (const Vm* vm = state.findVm(name_or_id)) return vm->record.spec.id;
    const std::optional<VmId> id = parseVmId(name_or_id);
    return id && ids.contains(*id) ? id : std::nullopt;
  };

  // All of `changed` are after the same, so whichever is reached first closes a cycle.
  std::map<VmId, std::optional<VmId>> reached_from;
  std::deque<VmId> due;
  const auto reach = [&](const std::vector<std::string>& next, std::optional<VmId> from) {
    for (const std::string& name : next) {
      const std::optional<VmId> id = find(name);
      if (id && reached_from.emplace(*id, from).second) due.push_back(*id);
    }
  };
  reach(after, std::nullopt);
  for (; !due.empty(); due.pop_front()) {
    const VmId id = due.front();
    if (const auto self = ids.find(id); self != ids.end()) {
      std::vector<std::string> way{self->second};
      for (std::optional<VmId> at = reached_from.at(id); at; at = reached_from.at(*at)) {
        way.push_back(state.vms.at(*at).record.spec.name);
      }
      std::reverse(way.begin(), way.end());
      return cycleError(way);
    }
    reach(state.vms.at(id).record.after, id);
  }
  return {};
}

}  // namespace vms::runner
