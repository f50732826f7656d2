#pragma once

#include "runner/engine_state.h"

namespace vms::runner {

/// What a host says exists on it. A complete list, of a hypervisor that is the one we know (S4),
/// settles attempts of an earlier boot, shows foreign domains (S11) and makes the host usable.
Result<void> onDomainList(EngineState& state, Host& host, const proto::DomainList& list,
                          const Now& now);

}  // namespace vms::runner
