#pragma once

#include <boost/asio/awaitable.hpp>

#include "schema/base/error.h"
#include "schema/ids.h"
#include "schema/proto/agent.pb.h"

namespace vms::hostagent {

namespace asio = boost::asio;

struct AgentCore;

/// Carries out one command about one attempt (S12) and answers it in `session`. What needs the
/// hypervisor goes on in the background, one operation per VM at a time. An error means that the
/// message was malformed and the session must end.
asio::awaitable<Result<void>> takeCommand(AgentCore& core, SessionNumber session,
                                          proto::Command command);

}  // namespace vms::hostagent
