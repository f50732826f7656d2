#pragma once

#include <boost/asio/awaitable.hpp>

#include "schema/claim.h"

namespace vms::hostagent {

namespace asio = boost::asio;

struct AgentCore;

/// A published domain of ours is gone: finds out why, makes the end durable, reports it. Expects
/// that the attempt is held; gives it back.
asio::awaitable<void> settleEnd(AgentCore& core, AttemptId id);

/// The same for one that may have executed and may still be there: it is destroyed first.
asio::awaitable<void> endForSure(AgentCore& core, AttemptId id);

/// Destroys a published domain for as long as that takes, then ends it as intended. Expects that
/// the attempt is held and occupies a slot of the destroy lane; gives both back.
asio::awaitable<void> runForceOff(AgentCore& core, AttemptId id);

/// Destroys a domain whose claim is spent, for as long as that takes.
asio::awaitable<void> destroyLate(AgentCore& core, AttemptRef ref);

}  // namespace vms::hostagent
