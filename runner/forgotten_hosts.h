#pragma once

#include <string>

#include "runner/engine_state.h"
#include "schema/base/error.h"

/// Hosts that a person says are off for good (S18). Their rows stay, so that one which comes back
/// is noticed (S7).
namespace vms::runner {

/// `who` says that the host is off for good; `fenced`: that nothing can run there any more, so that
/// its open attempts have ended. Busy: its agent is connected, or something may run there, or was
/// moved away from there, and nobody says that it has ended.
Result<void> forgetHost(EngineState& state, const HostId& id, const std::string& who, bool fenced,
                        const Now& now);

/// NotFound, for who wants something of a forgotten host.
Error alreadyForgotten(const HostRecord& host);

/// An agent of a forgotten host says hello. Other hardware under its name is a new host; the same
/// machine is quarantined.
void takeBack(EngineState& state, Host& host, const proto::Hello& hello);

}  // namespace vms::runner
