#pragma once

#include <optional>
#include <string>

#include "runner/engine_state.h"
#include "schema/base/error.h"

/// Domains that somebody else moved from one of our hosts to another machine (S9). The attempt is
/// UNKNOWN, and its VM is not started anywhere, until some host reports the domain, from when on it
/// counts as foreign there, or a person has confirmed the host that it left. The same holds for
/// what moves on, and for what an attempt started that this database does not know.
namespace vms::runner {

/// The attempt's host says that the domain was moved away. Precondition: the attempt is open, its
/// stop reason says so.
void noteMovedAway(EngineState& state, Attempt& attempt, const Now& now);

/// The host says that a domain of this VM, which no open attempt accounts for, was moved away from
/// it. False: this is not noted, because too many are already.
[[nodiscard]] bool noteMovedVm(EngineState& state, Host& host, VmId vm);
/// What an agent is told then.
Error tooManyMoved();

/// Why a VM that nobody starts must not be started, for people.
struct Elsewhere {
  std::string what;       ///< "runs on host h1 outside our control"
  std::string next_step;  ///< What a person does about it.
};
/// Nothing: it exists nowhere outside our control, as far as is known.
std::optional<Elsewhere> whereElse(const EngineState& state, VmId vm);

/// A host has listed its domains: what was looked for and is there is found.
void findMoved(EngineState& state, const Host& host, const Now& now);

/// A person has looked: nothing that left this host runs any more.
void confirmMoved(EngineState& state, Host& host, const Now& now);

}  // namespace vms::runner
