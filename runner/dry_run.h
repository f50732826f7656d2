#pragma once

#include <vector>

#include "runner/engine_state.h"
#include "runner/service.h"

namespace vms::runner {

/// What `what` would do to each VM if it were accepted now, in the order of the selection. Refused
/// whole for what the request itself is refused for; changes nothing. `may_start`: as
/// Engine::mayStart says.
Result<std::vector<DryRunItem>> dryRun(EngineState& state, const StartRequest& what,
                                       const Result<void>& may_start, const Now& now);

}  // namespace vms::runner
