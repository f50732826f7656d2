#pragma once

#include <string>

#include "runner/engine_state.h"
#include "schema/base/error.h"

/// The engine's picture of its hosts and of what runs on them: who may speak, what they say, and
/// what follows from silence. Synchronous; effects leave with the turn.
namespace vms::runner {

/// Judges an agent's first frame (S3, S4, S8) and opens a session for it; the previous session of
/// that host must be over. An error is for the agent: refuse it and close.
Result<SessionNumber> openSession(EngineState& state, const HostId& host, const proto::Hello& hello,
                                  const Now& now);

/// One frame of an open session. Frames of another session are dropped (S1). An error means that
/// the peer breaks the protocol: close the connection.
Result<void> onFrame(EngineState& state, SessionNumber session, const proto::Frame& frame,
                     const Now& now);

/// The connection is gone. Only starts the clock: nothing is concluded from it.
void closeSession(EngineState& state, SessionNumber session, const Now& now);

/// A sign of life for the agents, with the marks that they keep.
proto::Frame heartbeatFrame(const EngineState& state);

/// Agents may forget what was acknowledged at commits up to this (S24). Far behind the newest
/// commit, so that even an engine restored from an older copy finds the floors that it needs.
std::uint64_t watermarkOf(const EngineState& state);

/// What follows from time alone: silence, repeated questions, heartbeats due.
void watchHosts(EngineState& state, const Now& now);

/// After `load`: what was under way is UNKNOWN until its host reports.
void restoreAttempts(EngineState& state, const Now& now);

}  // namespace vms::runner
