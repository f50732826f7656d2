#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hostagent/hypervisor.h"
#include "hostagent/ledger.h"
#include "schema/base/error.h"
#include "schema/claim.h"
#include "schema/proto/agent.pb.h"

// Between the protocol's messages and the agent's own types. Nothing here decides.

namespace vms::hostagent {

void writeMarks(const JournalMarks& marks, proto::StoreMarks& message);
void writeIdentity(const HypervisorIdentity& identity, proto::HypervisorIdentity& message);

/// The frame without its session and term. `attempt` is durable and open.
proto::Frame makeProgress(const Attempt& attempt, TimePoint now);

/// The terminal results of what the journal holds, in the order in which they became true. Empty
/// while there is none.
std::vector<proto::Outcome::Kind> resultsOf(const ClaimRecord& durable);
bool isAcknowledged(const ClaimRecord& durable, proto::Outcome::Kind kind);
proto::Frame makeOutcome(const Attempt& attempt, proto::Outcome::Kind kind, TimePoint now);

proto::Frame makeAnswer(const proto::Command& command, proto::CommandAnswer::Verdict verdict,
                        const Error* error = nullptr);

/// One of ours that is published.
void writeOwnDomain(const ClaimRecord& record, bool paused, proto::Domain& message);
void writeForeignDomain(const DomainInfo& info, proto::Domain& message);

}  // namespace vms::hostagent
