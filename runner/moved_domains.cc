#include "runner/moved_domains.h"

#include "runner/run_book.h"
#include "schema/base/log.h"
#include "schema/frames.h"

namespace vms::runner {
namespace {

void endMoved(EngineState& state, Attempt& attempt, std::string message, const Now& now) {
  const RunId run_id = attempt.record.run;
  const HostId host = attempt.record.host;
  const EndCause cause{ErrorClass::IntendedStop, std::move(message)};
  closeAttempt(state, attempt, AttemptState::Ended, cause, now);
  const auto run = state.runs.find(run_id);
  if (run != state.runs.end()) afterFailure(state, run->second, host, cause, now);
}

std::string foundOn(const Attempt& attempt, const HostId& host) {
  return "VM '" + attempt.record.vm_name + "' was moved from host " + attempt.record.host +
         " to host " + host + " outside our control";
}

}  // namespace

void noteMovedAway(EngineState& state, Attempt& attempt, const Now& now) {
  AttemptRecord& record = attempt.record;
  if (const HostId* host = state.foreignHostOf(record.ref.vm)) {
    endMoved(state, attempt, foundOn(attempt, *host), now);
    return;
  }
  if (record.state != AttemptState::Unknown) state.setState(attempt, AttemptState::Unknown);
  record.error = "moved away from host " + record.host +
                 " by somebody else; end it where it is, then 'vmsctl host confirm " + record.host +
                 "'";
  state.touchAttempt(record.ref.attempt);
  log::warn("VM '{}': {}", record.vm_name, record.error);
  if (const auto run = state.runs.find(record.run); run != state.runs.end()) {
    touchWatchers(state, run->second);
  }
}

void findMoved(EngineState& state, const Host& host, const Now& now) {
  for (const auto& [key, domain] : host.listed) {
    const auto id = idFromBytes<VmId>(domain.ref().vm());
    const auto vm = id && domain.foreign() ? state.vms.find(*id) : state.vms.end();
    if (vm == state.vms.end() || !vm->second.attempt) continue;
    Attempt& attempt = state.attempt(*vm->second.attempt);
    if (attempt.record.movedAway()) {
      endMoved(state, attempt, foundOn(attempt, host.record.id), now);
    }
  }
}

void confirmMoved(EngineState& state, const Host& host, const Now& now) {
  const std::set<AttemptId> open = host.open;
  for (const AttemptId& id : open) {
    Attempt& attempt = state.attempt(id);
    if (!attempt.record.movedAway()) continue;
    attempt.record.proof = Proof::Confirmed;
    endMoved(state, attempt,
             "VM '" + attempt.record.vm_name + "' was moved away from host " + attempt.record.host +
                 ", and a person confirmed that it has ended",
             now);
  }
}

}  // namespace vms::runner
