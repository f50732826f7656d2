#include "runner/forgotten_hosts.h"

#include <set>
#include <utility>

#include "runner/domain_report.h"
#include "runner/run_book.h"
#include "schema/base/counted.h"
#include "schema/base/log.h"

namespace vms::runner {
namespace {

Error busy(const HostId& id, const std::string& why) {
  return {ErrorClass::Busy, "host '" + id + "' " + why};
}

/// Why forgetting the host would forget what may be alive.
Result<void> mayForget(const EngineState& state, const Host& host, bool fenced) {
  const HostId& id = host.record.id;
  if (host.session) {
    return busy(id, "is connected; stop its agent, and make sure that the machine is off");
  }
  std::size_t moved = host.record.moved.size();
  for (const AttemptId& attempt : host.open) {
    if (state.attempts.at(attempt).record.movedAway()) ++moved;
  }
  if (moved > 0) {
    return busy(id, "was left by " + counted(moved, "VM") +
                        " that somebody else moved away; end what has moved where it is, then "
                        "'vmsctl host confirm " +
                        id + "'");
  }
  const std::size_t alive = host.open.size() + host.record.foreign.size();
  const bool known = !state.marks.restored;  // Else it may run what this database has forgotten.
  if (fenced || (alive == 0 && known)) return {};
  return busy(id, "may still run " + (known ? counted(alive, "VM") : "VMs") +
                      "; make sure that the machine is off, then 'vmsctl host forget " + id +
                      " --fenced'");
}

void endThere(EngineState& state, const HostId& id, Attempt& attempt, const std::string& who,
              const Now& now) {
  AttemptRecord& record = attempt.record;
  record.proof = Proof::Confirmed;
  record.stop_reason = AttemptRecord::kFenced;
  const bool ran = record.running_at.has_value();
  const bool wished = record.stop_wished != AttemptRecord::StopWish::None;
  const EndCause cause{!ran     ? ErrorClass::HostNotReady
                       : wished ? ErrorClass::IntendedStop
                                : ErrorClass::Crashed,
                       who + " confirmed that host " + id + " is off for good"};
  const RunId run_id = record.run;
  closeAttempt(state, attempt, AttemptState::Ended, cause, now);
  const auto run = state.runs.find(run_id);
  if (run != state.runs.end()) afterFailure(state, run->second, id, cause, now);
}

}  // namespace

Error alreadyForgotten(const HostRecord& host) {
  return {ErrorClass::NotFound, "host '" + host.id + "' was forgotten by " + host.forgotten_by +
                                    "; it is known again once its agent connects"};
}

Result<void> forgetHost(EngineState& state, const HostId& id, const std::string& who, bool fenced,
                        const Now& now) {
  Host* const host = state.findHost(id);
  if (host == nullptr) {
    return Error{ErrorClass::NotFound,
                 "no host is called '" + id + "'; 'vmsctl host list' shows those that are known"};
  }
  if (!host->record.forgotten_by.empty()) return alreadyForgotten(host->record);
  if (auto may = mayForget(state, *host, fenced); !may) return may;
  const std::set<AttemptId> open = host->open;
  for (const AttemptId& attempt : open) endThere(state, id, state.attempt(attempt), who, now);
  host->listed.clear();
  host->strangers.clear();
  host->refused.clear();
  host->remembered.clear();
  host->doubted.clear();
  markForeign(state, *host);
  host->record.forgotten_by = who;
  host->record.alarm.clear();
  state.touchHost(id);
  state.inventory.removeHost(id);
  state.capacity_changed = true;
  return {};
}

void takeBack(EngineState& state, Host& host, const proto::Hello& hello) {
  HostRecord& record = host.record;
  if (record.forgotten_by.empty()) return;
  if (record.hardware_uuid == hello.hardware_uuid()) {
    record.alarm = record.forgotten_by +
                   " said that it is off for good, and it is back; see what runs there ('vmsctl "
                   "host show " +
                   record.id + "'), then 'vmsctl host confirm " + record.id + "'";
    log::error("host {}: {}", record.id, record.alarm);
  } else {
    if (!record.boot_id.empty()) record.retired_boots.push_back(std::exchange(record.boot_id, {}));
    record.hardware_uuid.clear();
    record.hypervisor_uri.clear();
    record.hypervisor_host_uuid.clear();
    record.draining = false;
    record.confirmed = !state.marks.restored;
  }
  record.forgotten_by.clear();
  state.touchHost(record.id);
}

}  // namespace vms::runner
