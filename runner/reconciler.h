#pragma once

#include <string>

#include "runner/engine_state.h"
#include "schema/base/error.h"

/// The engine's picture of what runs on its hosts: what they say, and what follows from silence.
/// Synchronous; effects leave with the turn.
namespace vms::runner {

/// One frame of an open session. Frames of another session are dropped (S1). An error means that
/// the peer breaks the protocol: close the connection.
Result<void> onFrame(EngineState& state, SessionNumber session, const proto::Frame& frame,
                     const Now& now);

/// What follows from time alone: silence, repeated questions, heartbeats due.
void watchHosts(EngineState& state, const Now& now);

/// After `load`: what was under way is UNKNOWN until its host reports.
void restoreAttempts(EngineState& state, const Now& now);

}  // namespace vms::runner
