#pragma once

#include <string>

#include "runner/engine_state.h"
#include "schema/base/error.h"

namespace vms::runner {

/// What an agent's hello means for the host's identity (S3).
enum class BootVerdict {
  Enrolled,  ///< First hello ever of this host.
  SameBoot,
  Rebooted,  ///< Proof: every domain of the old boot is gone, if its hypervisor was local (S4).
};

/// How long the agent says that its machine is up: at most some decades, whatever the hello claims,
/// so that adding to it cannot overflow and make a long time short.
Duration uptimeOf(const proto::Hello& hello);

/// Judges hardware UUID and boot id against the host's record. An error is a mismatch that a person
/// must look at: its message becomes the host's alarm.
Result<BootVerdict> judgeBoot(const Host& host, const proto::Hello& hello,
                              const EngineOptions& options, const Now& now);

/// Whether what this agent says is gone is gone: a local hypervisor, the same as before (S4).
bool speaksForHypervisor(const HostRecord& record, const proto::HypervisorIdentity& identity);

}  // namespace vms::runner
