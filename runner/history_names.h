#pragma once

#include <boost/asio/awaitable.hpp>

#include "runner/engine_state.h"
#include "runner/store.h"

namespace vms::runner {

/// For a query that selected nothing: whether what it names exists at all, now or in the history
/// (a host that was forgotten, a VM that was undefined). NotFound: a host, VM or request that
/// neither knows. On the engine's executor; both outlive the call.
asio::awaitable<Result<void>> checkNamesExist(const EngineState* state, Store* store,
                                              HistoryQuery query);

}  // namespace vms::runner
