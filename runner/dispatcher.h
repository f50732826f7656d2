#pragma once

#include <string>
#include <vector>

#include "runner/engine_state.h"

/// From the ready queue to bulk creates: one pass per turn of the engine.
namespace vms::runner {

/// Wakes what is due, places what is ready, closes the windows that are due, and queues the bulk
/// creates for sending once the turn is durable. `may_start` is false while nothing may start (S8).
void dispatch(EngineState& state, bool may_start, const Now& now);

/// Why `host` gets no new work now, for people; empty: it does.
std::string whyNotSchedulable(const EngineState& state, const Host& host);

/// When `dispatch` has something to do by itself; TimePoint::max() if never.
TimePoint nextDispatch(const EngineState& state, const Now& now);

/// Takes back what gathered for a host and was not sent, to be placed elsewhere.
void withdrawGathered(EngineState& state, Host& host, const Now& now);

/// The bulk create that carries `attempts`, all of one batch; also for redelivery.
proto::Frame bulkCreate(EngineState& state, BatchId batch, const std::vector<AttemptId>& attempts);

}  // namespace vms::runner
