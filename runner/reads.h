#pragma once

#include <map>
#include <string>
#include <vector>

#include "runner/engine_state.h"
#include "runner/service.h"

/// What clients ask of the engine's state. Synchronous; whoever tells the answer to a client waits
/// until what it was read from is durable (S13).
namespace vms::runner {

/// Those with all labels of `selector`, by name, after `cursor`.
Result<VmPage> listVms(const EngineState& state, const std::map<std::string, std::string>& selector,
                       std::size_t limit, const std::string& cursor);
Result<VmView> showVm(const EngineState& state, const std::string& name_or_id);

/// Newest first, after `cursor`.
Result<RequestPage> listRequests(const EngineState& state, std::size_t limit,
                                 const std::string& cursor, const Now& now);
Result<RequestView> showRequest(const EngineState& state, RequestId id, const Now& now);

Result<std::vector<HostView>> listHosts(const EngineState& state, const Now& now);
Result<HostView> showHost(const EngineState& state, const HostId& id, const Now& now);
Result<std::vector<StagingItem>> staging(const EngineState& state, const HostId& id);

/// Oldest first.
Result<std::vector<TokenRecord>> listTokens(const EngineState& state);

}  // namespace vms::runner
