#pragma once

#include "runner/engine_state.h"

namespace vms::runner {

/// Brings the host's foreign VMs up to date with its list and with what its agent spoke of. A VM
/// that exists there without our being its cause must not be started anywhere (S11).
void markForeign(EngineState& state, Host& host);
/// The same for one VM of which the host spoke, at a cost that does not grow with how many there
/// are.
void markForeignVm(EngineState& state, Host& host, VmId vm);

/// Whether its newest list has a foreign domain of this VM.
bool listsForeign(const Host& host, VmId vm);

/// What a host says exists on it. A complete list, of a hypervisor that is the one we know (S4),
/// settles attempts of an earlier boot (after a restore, their host is asked first), shows foreign
/// domains (S11) and makes the host usable.
Result<void> onDomainList(EngineState& state, Host& host, const proto::DomainList& list,
                          const Now& now);

/// The attempt was on its host in an earlier boot and is gone: the proof is the reboot (S3).
void endWithBoot(EngineState& state, const Host& host, Attempt& attempt, const Now& now);

/// The host says that an attempt which is not open here is over; it sends no list for that.
void forgetListed(EngineState& state, Host& host, const AttemptRef& ref);

}  // namespace vms::runner
