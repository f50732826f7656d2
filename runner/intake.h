#pragma once

#include <string>
#include <vector>

#include "runner/engine_state.h"
#include "runner/service.h"

/// What clients want done: bulk starts, cancels and stops. Synchronous; the caller releases the
/// answer once the turn is durable (S13).
namespace vms::runner {

/// The VMs of a request that could be accepted as a whole, and how they are to run.
struct CheckedStart {
  std::vector<VmId> vms;
  RunOptions options;
};
/// What does not depend on a single VM: options, selection, limits.
Result<CheckedStart> checkStart(const EngineState& state, const StartRequest& what, const Now& now);

/// Busy: what `vm` does now goes with no new run, nor with joining the open one (S22).
Result<void> checkVm(EngineState& state, const Vm& vm, const RunOptions& options);

/// Accepts one bulk request whole, or refuses it whole. The same principal and key again gives the
/// same request, KeyReused if the body differs (S23).
Result<RequestId> createRequest(EngineState& state, const Principal& who, const StartRequest& what,
                                const Now& now);

/// Withdraws what has not been sent, wishes the rest away (S22). Idempotent.
Result<void> cancelRequest(EngineState& state, RequestId id, const Now& now);

/// Stops what runs, cancels what is on its way, per VM.
Result<std::vector<StopItem>> stopVms(EngineState& state, const Principal& who, const StopVms& what,
                                      const Now& now);

/// Has the attempt's wishes (cancel, stop) told to its host with this turn.
void sendWishes(EngineState& state, const Attempt& attempt);

/// Queues the commands for the wishes that stand at the end of a turn: one that was overtaken
/// within the turn never became durable, so it must not leave either (S13).
void emitWishes(EngineState& state, const Now& now);

}  // namespace vms::runner
