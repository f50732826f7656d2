#include "runner/moved_domains.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "runner/domain_report.h"
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

bool noteMovedVm(EngineState& state, Host& host, VmId vm) {
  const bool listed = std::any_of(state.hosts.begin(), state.hosts.end(), [&](const auto& entry) {
    const Host& other = entry.second;
    return &other != &host && other.session && listsForeign(other, vm);
  });
  std::vector<std::string>& moved = host.record.moved;
  if (listed || std::find(moved.begin(), moved.end(), vm.str()) != moved.end()) return true;
  if (moved.size() >= state.options.max_strangers) return false;
  moved.push_back(vm.str());
  state.touchHost(host.record.id);
  log::warn("VM {} was moved away from host {} by somebody else", vm.str(), host.record.id);
  markForeignVm(state, host, vm);
  return true;
}

Error tooManyMoved() {
  return {ErrorClass::TooLarge, "more domains have moved on than this engine can keep in mind"};
}

std::optional<Elsewhere> whereElse(const EngineState& state, VmId vm) {
  const HostId* const id = state.foreignHostOf(vm);
  if (id == nullptr) return std::nullopt;
  const Host& host = state.hosts.at(*id);
  if (host.doubted.contains(vm)) {
    return Elsewhere{
        "was on host " + *id + " outside our control, which has not said where it went",
        "wait until that host is ready"};
  }
  const std::vector<std::string>& moved = host.record.moved;
  if (std::find(moved.begin(), moved.end(), vm.str()) == moved.end()) {
    return Elsewhere{"runs on host " + *id + " outside our control", "end it there first"};
  }
  return Elsewhere{"was moved away from host " + *id + " by somebody else",
                   "end it where it is, then 'vmsctl host confirm " + *id + "'"};
}

namespace {

/// Where these VMs are is known now.
void forgetMoves(EngineState& state, const std::set<VmId>& vms) {
  for (auto& [id, host] : state.hosts) {
    const auto moved = [&](const std::string& text) { return vms.contains(*parseVmId(text)); };
    const auto doubted = [&](const auto& doubt) { return vms.contains(doubt.first); };
    const auto found = std::erase_if(host.record.moved, moved);
    if (found + std::erase_if(host.doubted, doubted) == 0) continue;
    if (found > 0) state.touchHost(id);
    markForeign(state, host);
  }
}

}  // namespace

void findMoved(EngineState& state, const Host& host, const Now& now) {
  std::set<VmId> seen;
  for (const auto& [key, domain] : host.listed) {
    const auto vm = idFromBytes<VmId>(domain.ref().vm());
    if (vm && domain.foreign()) seen.insert(*vm);
  }
  if (!seen.empty()) forgetMoves(state, seen);
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

void confirmMoved(EngineState& state, Host& host, const Now& now) {
  host.record.moved.clear();
  host.doubted.clear();
  markForeign(state, host);
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
