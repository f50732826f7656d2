#pragma once

#include <map>
#include <string>
#include <vector>

#include "runner/engine_state.h"
#include "runner/service.h"

/// The managed VMs: definition, settings, selection. Synchronous; changes become durable with the
/// turn.
namespace vms::runner {

/// All or none; ids in the order of the document. Busy: a name or UUID belongs to another VM.
/// Invalid: a name is the UUID of another VM; here and in setVm: a VM would be after itself (S19).
Result<std::vector<VmId>> defineVms(EngineState& state, const DefineVms& what, const Now& now);

Result<VmId> setVm(EngineState& state, const std::string& name_or_id, const VmSettings& settings,
                   const Now& now);

/// Busy while an attempt or a run is open (S10).
Result<void> undefineVm(EngineState& state, const std::string& name_or_id, const Now& now);

/// Whether the VM has all of `wanted`, with these values.
bool hasLabels(const VmRecord& vm, const std::map<std::string, std::string>& wanted);

/// The VMs that `selection` names, each once, in its order (by name for `all` and selectors).
/// NotFound names the first that is not known; Invalid: it selects in no way or in several.
Result<std::vector<VmId>> selectVms(const EngineState& state, const VmSelection& selection);

}  // namespace vms::runner
