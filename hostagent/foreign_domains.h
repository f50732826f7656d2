#pragma once

#include <boost/asio/awaitable.hpp>

#include "hostagent/hypervisor.h"

namespace vms::hostagent {

struct AgentCore;

/// Domains that are not ours (S11): told to the engine and left alone.

/// It is there.
void noteForeign(AgentCore& core, const DomainInfo& info);

/// It is not there any more. One that was moved elsewhere is told as such from now on: it goes on
/// running where the engine may not see it.
boost::asio::awaitable<void> forgetForeign(AgentCore& core, VmId vm);

}  // namespace vms::hostagent
