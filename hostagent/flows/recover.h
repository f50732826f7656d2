#pragma once

#include <boost/asio/awaitable.hpp>

#include "hostagent/hypervisor.h"

namespace vms::hostagent {

struct AgentCore;

/// Compares journal and hypervisor whenever the connection is new, until the agent stops: adopts
/// what is ours and runs, continues what was half done, ends what is gone or spent, reports what is
/// foreign. The agent is READY only after it. Retries by itself whatever can be retried.
asio::awaitable<void> runRecover(AgentCore& core);

/// What one domain is to us, and what follows: ours and published: its state is noted; late: it is
/// destroyed, never resumed (S2, see late_domains.h); with a claim of this host and boot that the
/// journal does not know: adopted, the journal was lost (S11); anything else, also what may be a
/// guest that lives under a claim that is over: foreign, reported, untouched. Leaves domains alone
/// whose flow is at work. Returns once that is settled and durable.
/// Precondition: `info` was just asked for.
asio::awaitable<void> settleDomain(AgentCore& core, DomainInfo info);

}  // namespace vms::hostagent
