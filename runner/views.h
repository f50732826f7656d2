#pragma once

#include "runner/engine_state.h"
#include "runner/service.h"

/// What clients see of the engine's state. Read-only.
namespace vms::runner {

VmView viewOf(const EngineState& state, const Vm& vm);
RequestView viewOf(const EngineState& state, const Request& request, const Now& now);
/// ready, recovering, not_ready, draining, quarantined, unconfirmed, disconnected
std::string_view hostStateOf(const EngineState& state, const Host& host);
HostView viewOf(const EngineState& state, const Host& host, const Now& now);
VmEvent eventOf(const EngineState& state, const Vm& vm);
HostEvent eventOf(const EngineState& state, const Host& host);
std::vector<StagingItem> stagingOf(const EngineState& state, const Host& host);

}  // namespace vms::runner
