#include "runner/vm_registry.h"

#include <algorithm>
#include <set>

#include "runner/dependency_cycle.h"
#include "schema/base/utf8.h"

namespace vms::runner {
namespace {

constexpr std::size_t kMaxLabels = 64;
constexpr std::size_t kMaxLabelBytes = 256;
constexpr std::size_t kMaxAfter = 64;
constexpr Duration kMaxGateDelay = std::chrono::hours(1);

Result<void> checkRange(int value, int low, int high, const char* what) {
  if (value >= low && value <= high) return {};
  return Error{ErrorClass::Invalid, std::string(what) + " is " + std::to_string(value) +
                                        "; give a number from " + std::to_string(low) + " to " +
                                        std::to_string(high)};
}

Result<void> checkLabels(const std::map<std::string, std::string>& labels) {
  if (labels.size() > kMaxLabels) {
    return Error{ErrorClass::TooLarge,
                 "more than " + std::to_string(kMaxLabels) + " labels on one VM"};
  }
  for (const auto& [key, value] : labels) {
    if (key.empty() || key.size() > kMaxLabelBytes || value.size() > kMaxLabelBytes) {
      return Error{ErrorClass::Invalid, "label '" + std::string(cutUtf8(key, 40)) +
                                            "': key and value have 1 to 256 bytes"};
    }
  }
  return {};
}

Result<void> checkSettings(const VmSettings& settings) {
  if (settings.priority) {
    if (auto ok = checkRange(*settings.priority, 0, 100, "priority"); !ok) return ok.error();
  }
  if (settings.tier) {
    if (auto ok = checkRange(*settings.tier, 0, 9, "tier"); !ok) return ok.error();
  }
  if (settings.labels) {
    if (auto ok = checkLabels(*settings.labels); !ok) return ok.error();
  }
  if (settings.after && settings.after->size() > kMaxAfter) {
    return Error{ErrorClass::TooLarge,
                 "more than " + std::to_string(kMaxAfter) + " VMs in 'after'"};
  }
  if (settings.gate) {
    if (settings.gate->kind == Gate::Kind::GuestAgent) {
      return Error{ErrorClass::Invalid,
                   "gate 'guest-agent' is not available yet; use 'running' or 'delay:30s'"};
    }
    if (settings.gate->delay < Duration{} || settings.gate->delay > kMaxGateDelay) {
      return Error{ErrorClass::Invalid, "the delay of a gate is at most 1h"};
    }
  }
  return {};
}

void apply(const VmSettings& settings, VmRecord& vm) {
  if (settings.priority) vm.priority = *settings.priority;
  if (settings.ha) vm.ha = *settings.ha;
  if (settings.tier) vm.tier = *settings.tier;
  if (settings.after) vm.after = *settings.after;
  if (settings.gate) vm.gate = *settings.gate;
  if (settings.labels) {
    for (const auto& [key, value] : *settings.labels) {
      if (value.empty()) {
        vm.labels.erase(key);
      } else {
        vm.labels[key] = value;
      }
    }
  }
}

Error notFound(const std::string& name) {
  return {ErrorClass::NotFound,
          "no VM is called '" + name + "'; 'vmsctl vm list' shows those that are defined"};
}

/// Whether `document` may become, or update, the VM with its UUID.
Result<void> checkIdentity(const EngineState& state, const VmDocument& document) {
  const VmSpec& spec = document.spec;
  // Commands and 'after' take either, so a name must not stand for another VM's id.
  if (const auto id = parseVmId(spec.name); id && *id != spec.id) {
    return Error{ErrorClass::Invalid, "the name '" + spec.name +
                                          "' is a UUID, but not this VM's own (" + spec.id.str() +
                                          "); choose another name"};
  }
  if (const auto name = state.vm_names.find(spec.name);
      name != state.vm_names.end() && name->second != spec.id) {
    return Error{ErrorClass::Busy, "the name '" + spec.name + "' belongs to VM " +
                                       name->second.str() +
                                       "; choose another or undefine that one"};
  }
  const auto found = state.vms.find(spec.id);
  if (found == state.vms.end()) return {};
  const Vm& vm = found->second;
  if (vm.record.defined && vm.record.spec.name != spec.name) {
    return Error{ErrorClass::Busy, "the UUID " + spec.id.str() + " belongs to VM '" +
                                       vm.record.spec.name + "'; a VM keeps its name"};
  }
  const bool resized = vm.record.spec.memory != spec.memory || vm.record.spec.vcpus != spec.vcpus;
  if (resized && (vm.attempt || vm.run)) {
    return Error{ErrorClass::Busy, "VM '" + spec.name +
                                       "' runs or is being started; stop it before its memory or "
                                       "vCPUs change"};
  }
  return {};
}

}  // namespace

Result<std::vector<VmId>> defineVms(EngineState& state, const DefineVms& what, const Now& now) {
  VmSettings settings;
  settings.priority = what.priority;
  settings.ha = what.ha;
  settings.tier = what.tier;
  settings.after = what.after;
  settings.gate = what.gate;
  settings.labels = what.labels;
  if (auto ok = checkSettings(settings); !ok) return ok.error();
  Result<std::vector<VmDocument>> documents = parseDomainXml(what.xml);
  if (!documents) return documents.error();
  if (state.vms.size() + documents->size() > state.options.max_vms) {
    return Error{ErrorClass::RateLimited, "more than " + std::to_string(state.options.max_vms) +
                                              " VMs; undefine some first"};
  }
  for (const VmDocument& document : *documents) {
    if (auto ok = checkIdentity(state, document); !ok) return ok.error();
  }
  if (settings.after) {
    std::vector<const VmSpec*> changed;
    for (const VmDocument& document : *documents) changed.push_back(&document.spec);
    if (auto ok = checkDependencies(state, changed, *settings.after); !ok) return ok.error();
  }

  std::vector<VmId> ids;
  ids.reserve(documents->size());
  for (VmDocument& document : *documents) {
    const VmId id = document.spec.id;
    Vm& vm = state.vms[id];
    const bool fresh = vm.record.spec.id != id || !vm.record.defined;
    if (fresh) {
      // A UUID that comes back keeps its epochs, and nothing else (S10).
      const Epoch epoch = vm.record.epoch;
      vm.record = VmRecord{};
      vm.record.epoch = epoch;
      vm.record.defined_at = now.wall;
    }
    vm.record.spec = std::move(document.spec);
    vm.record.xml = std::move(document.xml);
    vm.record.updated_at = now.wall;
    apply(settings, vm.record);
    state.vm_names[vm.record.spec.name] = id;
    state.touchVm(id);
    ids.push_back(id);
  }
  return ids;
}

Result<VmId> setVm(EngineState& state, const std::string& name_or_id, const VmSettings& settings,
                   const Now& now) {
  if (auto ok = checkSettings(settings); !ok) return ok.error();
  Vm* vm = state.findVm(name_or_id);
  if (vm == nullptr) return notFound(name_or_id);
  if (settings.after) {
    auto ok = checkDependencies(state, {&vm->record.spec}, *settings.after);
    if (!ok) return ok.error();
  }
  apply(settings, vm->record);
  vm->record.updated_at = now.wall;
  state.touchVm(vm->record.spec.id);
  return vm->record.spec.id;
}

Result<void> undefineVm(EngineState& state, const std::string& name_or_id, const Now& now) {
  Vm* vm = state.findVm(name_or_id);
  if (vm == nullptr) return notFound(name_or_id);
  if (vm->attempt || vm->run) {
    const bool unknown =
        vm->attempt && state.attempt(*vm->attempt).record.state == AttemptState::Unknown;
    return Error{
        ErrorClass::Busy,
        "VM '" + vm->record.spec.name +
            (unknown ? "' may run on host " + state.attempt(*vm->attempt).record.host +
                           ", which does not answer; it can be undefined once that is known"
                     : "' runs or is being started; stop it first")};
  }
  vm->record.defined = false;
  vm->record.xml.clear();
  vm->record.updated_at = now.wall;
  state.vm_names.erase(vm->record.spec.name);
  state.touchVm(vm->record.spec.id);
  return {};
}

bool hasLabels(const VmRecord& vm, const std::map<std::string, std::string>& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&vm](const auto& one) {
    const auto label = vm.labels.find(one.first);
    return label != vm.labels.end() && label->second == one.second;
  });
}

Result<std::vector<VmId>> selectVms(const EngineState& state, const VmSelection& selection) {
  const int ways = (selection.vms.empty() ? 0 : 1) + (selection.selector.empty() ? 0 : 1) +
                   (selection.all ? 1 : 0);
  if (ways != 1) {
    return Error{ErrorClass::Invalid, "select VMs in one way: by 'vms', by 'selector' or by 'all'"};
  }
  std::vector<VmId> ids;
  if (!selection.vms.empty()) {
    std::set<VmId> seen;
    for (const std::string& name : selection.vms) {
      const Vm* vm = state.findVm(name);
      if (vm == nullptr) return notFound(name);
      if (seen.insert(vm->record.spec.id).second) ids.push_back(vm->record.spec.id);
    }
    return ids;
  }
  for (const auto& [name, id] : state.vm_names) {
    if (hasLabels(state.vms.find(id)->second.record, selection.selector)) ids.push_back(id);
  }
  return ids;
}

}  // namespace vms::runner
