#pragma once

#include <optional>
#include <string>

#include "runner/engine_state.h"

/// What a run and its attempts go through: the steps that several parts of the engine share. Each
/// keeps rows, indexes, reservations and requests in step with one another.
namespace vms::runner {

/// Why an attempt or a run ended badly.
struct EndCause {
  ErrorClass error_class = ErrorClass::Internal;
  std::string message;
};

/// The deadline for being sent has passed.
EndCause tooLateFor(const std::string& vm_name);

/// Whether the attempt, which no host knows of, was never sent and is too late for that now.
bool missedDeadline(const EngineState& state, const AttemptRecord& attempt, const Now& now);

/// Queues a run that is QUEUED or HELD for placement now, keeping its age.
void makeReady(EngineState& state, Run& run);

/// Withdraws a run from every place where it could wait.
void unqueue(EngineState& state, Run& run);

/// Opens an attempt for `run` on `host` with the VM's next epoch, reserving its demand.
Attempt& openAttempt(EngineState& state, Run& run, Host& host, const Now& now);

/// The attempt is over: releases what it held. For a final state other than ENDED nothing of it
/// ever runs; ENDED needs a proof or the host's own report.
void closeAttempt(EngineState& state, Attempt& attempt, AttemptState final_state,
                  std::optional<EndCause> cause, const Now& now);

/// The host says that the domain is up. The run succeeds, or waits for its gate.
void attemptRuns(EngineState& state, Attempt& attempt, const Now& now);

/// Opens the gate of an attempt that runs once its delay has passed since it came up.
void armGate(EngineState& state, Attempt& attempt, const Now& now);

/// The attempt's gate is open.
void gateOpened(EngineState& state, Attempt& attempt, const Now& now);

/// An attempt of `run` ended without success on `host`: retried, held, cancelled or failed.
void afterFailure(EngineState& state, Run& run, const HostId& host, EndCause cause, const Now& now);

/// Gives the run its one outcome and finishes the requests that waited for it.
void finishRun(EngineState& state, Run& run, RunState outcome, std::optional<EndCause> cause,
               const Now& now);

/// HELD with a reason that people read; tried again after `retry`, or when capacity changes.
void holdRun(EngineState& state, Run& run, EndCause cause, std::optional<Duration> retry,
             const Now& now);

/// One item of a request has its outcome now.
void finishItem(EngineState& state, RequestId request, const Now& now);

/// Forgets the oldest finished requests and attempts beyond fixed bounds. Only right after the
/// changes of a turn were taken.
void boundMemory(EngineState& state);

/// Watchers of every request that shares `run` have something to see.
void touchWatchers(EngineState& state, const Run& run);

}  // namespace vms::runner
