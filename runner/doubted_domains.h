#pragma once

#include <set>

#include "runner/engine_state.h"

/// VMs that existed on a host outside our control and that a new instance of its agent does not
/// list. Nobody watched them leave: they may have ended, or run on where somebody moved them. Until
/// the host has said which, they count as being there (S1, S9, S11).
namespace vms::runner {

/// VMs that count as existing on the host outside our control, but for those that were moved away.
std::set<VmId> foreignHere(const Host& host);

/// A complete list has come; `before` was there until then. What it lacks is doubted, unless the
/// agent is the one that told of it: what that one saw end has ended.
void doubtMissing(EngineState& state, Host& host, const std::set<VmId>& before);

/// Asks the host about what is doubted and has no answer yet. Precondition: it is ready.
void askDoubted(EngineState& state, Host& host, const Now& now);

/// An answer about an attempt that is not open here. False: more VMs were moved away than can be
/// kept in mind.
[[nodiscard]] bool settleDoubt(EngineState& state, Host& host, const AttemptRef& ref,
                               const proto::CommandAnswer& answer);

}  // namespace vms::runner
