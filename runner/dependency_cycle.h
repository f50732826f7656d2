#pragma once

#include <string>
#include <vector>

#include "runner/engine_state.h"
#include "schema/vm_spec.h"

namespace vms::runner {

/// Invalid if one of `changed` would wait for itself, over however many other VMs, once all of them
/// are after the VMs that `after` names (S19). Those in `changed` may be new; a name that nobody
/// has yet is passed over, and looked at when a VM of that name gets an `after` of its own.
Result<void> checkDependencies(const EngineState& state, const std::vector<const VmSpec*>& changed,
                               const std::vector<std::string>& after);

}  // namespace vms::runner
