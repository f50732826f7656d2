#pragma once

#include "hostagent/hypervisor.h"

namespace vms::hostagent {

struct AgentCore;

/// What the hypervisor says. An event is a hint: the domain is looked up, and the answer decides
/// (adopt, end, report as foreign, destroy a late one). While a flow works on the VM the hint waits
/// for it.
void onHypervisorEvent(AgentCore& core, const HypervisorEvent& event);

/// Looks the domain up in the background and settles what is found. Coalesces.
void inspect(AgentCore& core, VmId vm);

}  // namespace vms::hostagent
