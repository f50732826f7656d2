#pragma once

#include "runner/engine_state.h"

/// Domains that somebody else moved from one of our hosts to another machine (S9). The attempt is
/// UNKNOWN, and its VM is not started anywhere, until some host reports the domain, from when on it
/// counts as foreign there, or a person has confirmed the host that it left.
namespace vms::runner {

/// The attempt's host says that the domain was moved away. Precondition: the attempt runs.
void noteMovedAway(EngineState& state, Attempt& attempt, const Now& now);

/// A host has listed its domains: what was looked for and is there is found.
void findMoved(EngineState& state, const Host& host, const Now& now);

/// A person has looked: nothing that left this host runs any more.
void confirmMoved(EngineState& state, const Host& host, const Now& now);

}  // namespace vms::runner
