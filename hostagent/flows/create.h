#pragma once

#include <boost/asio/awaitable.hpp>

#include "schema/ids.h"

namespace vms::hostagent {

namespace asio = boost::asio;

struct AgentCore;

/// From a durable claim to a running domain, or to nothing at all; continues wherever an earlier
/// life of the agent left it. Expects that the attempt is held and occupies a slot of the create
/// lane; gives both back.
asio::awaitable<void> runCreate(AgentCore& core, AttemptId id);

/// The last part, for a domain that was published and not yet reported running (S27). Expects that
/// the attempt is held; gives it back.
asio::awaitable<void> finishStart(AgentCore& core, AttemptId id);

}  // namespace vms::hostagent
