#pragma once

#include "runner/engine_state.h"
#include "runner/figures.h"

namespace vms::runner {

/// The engine as it is now. On its thread; the work grows with the number of hosts, not of VMs.
EngineFigures figuresOf(const EngineState& state, const Now& now);

}  // namespace vms::runner
