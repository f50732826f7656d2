#pragma once

#include <cstdint>

#include "runner/engine_state.h"
#include "schema/base/error.h"
#include "schema/frames.h"

/// Which agents may speak for their hosts, and since when they do. Synchronous, in the engine's
/// turns; nothing is concluded here about what runs on a host.
namespace vms::runner {

/// Judges an agent's first frame (S3, S4, S8) and opens a session for it; the previous session of
/// that host must be over. An error is for the agent: refuse it and close.
Result<SessionNumber> openSession(EngineState& state, const HostId& host, const proto::Hello& hello,
                                  const Now& now);

/// The connection is gone. Only starts the clock: nothing is concluded from it.
void closeSession(EngineState& state, SessionNumber session, const Now& now);

/// A sign of life for the agents, with the marks that they keep.
proto::Frame heartbeatFrame(const EngineState& state);

/// Agents may forget what was acknowledged at commits up to this (S24). Far behind the newest
/// commit, so that even an engine restored from an older copy finds the floors that it needs.
std::uint64_t watermarkOf(const EngineState& state);

}  // namespace vms::runner
