#pragma once

#include <boost/asio/awaitable.hpp>

namespace vms::hostagent {

namespace asio = boost::asio;

struct AgentCore;

/// Dials the engine, shakes hands, and takes its frames; again and again until the agent stops.
///
/// One session at a time: the next is dialled only after every frame of the last has been dealt
/// with. Frames of another session or term are dropped (S1); a malformed one ends the session, with
/// the reason in the log.
asio::awaitable<void> runSessions(AgentCore& core);

/// Cuts the connection when the engine has been silent for too long; called at every heartbeat.
void checkEngineSilence(AgentCore& core);

}  // namespace vms::hostagent
