#pragma once

#include <boost/asio/awaitable.hpp>

#include "schema/base/error.h"
#include "schema/ids.h"
#include "schema/proto/agent.pb.h"

namespace vms::hostagent {

namespace asio = boost::asio;

struct AgentCore;

/// Accepts or refuses every item of a bulk create, at once, with one journal commit for the whole
/// message, and answers after it. A refusal spends the item's epoch (S1); while the journal is full
/// it waits for room, and so does the answer. The same attempt again is accepted and told where it
/// stands. Only one call at a time. An error means that the message was malformed and the session
/// must end; nothing was claimed then.
asio::awaitable<Result<void>> takeBulkCreate(AgentCore& core, SessionNumber session, Term term,
                                             proto::BulkCreate bulk);

}  // namespace vms::hostagent
