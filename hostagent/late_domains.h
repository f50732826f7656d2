#pragma once

#include "hostagent/hypervisor.h"
#include "hostagent/ledger.h"

// What came late: a create whose call was lost, carried out when nobody waits for it any more (S2).
// It has never executed, and is destroyed. Whatever else carries a claim that is over may be a
// guest that lives, here again by somebody's hand: it is reported as foreign and left alone.

namespace vms::hostagent {

struct AgentCore;

/// Precondition: `info` carries a claim of this host. `attempt`: the one that it names, which is
/// over; null if the journal does not know it.
bool cameLate(const AgentCore& core, const Attempt* attempt, const DomainInfo& info);

/// Whether a late domain has taken the place of the guest of `attempt`, which is open and published
/// and whose claim `info` carries.
bool hasReplaced(const Attempt& attempt, const DomainInfo& info);

}  // namespace vms::hostagent
