#include "runner/intake.h"

#include <algorithm>
#include <utility>

#include "runner/run_book.h"
#include "runner/vm_registry.h"
#include "schema/base/check.h"
#include "schema/frames.h"

namespace vms::runner {
namespace {

constexpr std::size_t kMaxKeyBytes = 255;
constexpr std::size_t kMaxAvoid = 1'000;

bool isKnown(const EngineState& state, const HostId& id) {
  const auto host = state.hosts.find(id);
  return host != state.hosts.end() && host->second.record.forgotten_by.empty();
}

Result<void> checkOptions(const EngineState& state, const StartRequest& what) {
  if (what.priority && (*what.priority < 0 || *what.priority > 100)) {
    return Error{ErrorClass::Invalid,
                 "priority is " + std::to_string(*what.priority) + "; give a number from 0 to 100"};
  }
  if (what.host && !isKnown(state, *what.host)) {
    return Error{ErrorClass::NotFound, "no host is called '" + *what.host +
                                           "'; 'vmsctl host list' shows those that are known"};
  }
  if (what.avoid.size() > kMaxAvoid) {
    return Error{ErrorClass::TooLarge, "more than 1000 hosts to avoid"};
  }
  for (const HostId& host : what.avoid) {
    if (!isKnown(state, host)) {
      return Error{ErrorClass::NotFound, "no host is called '" + host +
                                             "'; 'vmsctl host list' shows those that are known"};
    }
    if (what.host == host) {
      return Error{ErrorClass::Invalid, "host '" + host + "' is both wanted and to be avoided"};
    }
  }
  if (what.deadline && *what.deadline <= Duration{}) {
    return Error{ErrorClass::Invalid, "the deadline is not in the future"};
  }
  if (what.idempotency_key.size() > kMaxKeyBytes ||
      !std::all_of(what.idempotency_key.begin(), what.idempotency_key.end(),
                   [](char c) { return c > ' ' && c <= '~'; })) {
    return Error{ErrorClass::Invalid,
                 "an idempotency key has at most 255 printable ASCII characters and no blanks"};
  }
  return {};
}

/// Two commands for one VM become one run only if they want the same (S22).
bool sameWish(const RunOptions& a, const RunOptions& b) {
  return a.host == b.host && a.paused == b.paused;
}

/// The VM is up already: the new run ends at once, without an attempt.
bool runsAlready(EngineState& state, const Vm& vm) {
  if (!vm.attempt || vm.run) return false;
  const AttemptRecord& attempt = state.attempt(*vm.attempt).record;
  return attempt.state == AttemptState::Running || attempt.state == AttemptState::Ready;
}

Run& newRun(EngineState& state, const Request& request, Vm& vm, const Now& now) {
  Run run;
  RunRecord& record = run.record;
  record.id = RunId{state.newId(now)};
  record.request = request.record.id;
  record.vm = vm.record.spec.id;
  record.vm_name = vm.record.spec.name;
  record.requester = request.record.principal;
  record.priority = request.record.priority;
  record.options = request.record.options;
  record.requested_at = now.wall;
  run.waiting_since = now.mono;
  if (record.options.deadline) {
    run.send_by = now.mono + (*record.options.deadline - now.wall);
    state.deadlines.emplace(*run.send_by, record.id);
  }
  ++state.open_runs;
  state.touchRun(record.id);
  return state.addRun(std::move(run));
}

/// Withdraws a run that nothing was sent for; otherwise leaves a durable wish.
void cancelRun(EngineState& state, Run& run, const Now& now) {
  if (run.record.state == RunState::Queued || run.record.state == RunState::Held) {
    finishRun(state, run, RunState::Cancelled, std::nullopt, now);
    return;
  }
  if (!run.record.attempt) return;
  Attempt& attempt = state.attempt(*run.record.attempt);
  if (attempt.record.state == AttemptState::Placed) {
    // The dispatcher skips it: it is no longer PLACED when its window closes.
    closeAttempt(state, attempt, AttemptState::Dropped, std::nullopt, now);
    run.record.attempt.reset();
    finishRun(state, run, RunState::Cancelled, std::nullopt, now);
    return;
  }
  if (run.record.cancel_wished) return;
  run.record.cancel_wished = true;
  attempt.record.cancel_wished = true;
  state.touchRun(run.record.id);
  state.touchAttempt(attempt.record.ref.attempt);
  sendWishes(state, attempt);
}

StopItem stopOne(EngineState& state, const Principal& who, Vm& vm, bool force, const Now& now) {
  StopItem item;
  item.vm = vm.record.spec.id;
  item.vm_name = vm.record.spec.name;
  item.state = "stopped";
  if (vm.run) {
    Run& run = state.run(*vm.run);
    cancelRun(state, run, now);
    item.state = isFinal(run.record.state) ? "cancelled" : "stopping";
  }
  if (!vm.attempt) return item;

  Attempt& attempt = state.attempt(*vm.attempt);
  using Wish = AttemptRecord::StopWish;
  const Wish wish = force ? Wish::ForceOff : Wish::Shutdown;
  if (attempt.record.stop_wished < wish) {
    attempt.record.stop_wished = wish;
    attempt.wish_heard = false;
    attempt.record.stop_requester = who.name;
    state.touchAttempt(attempt.record.ref.attempt);
  }
  sendWishes(state, attempt);
  item.state = "stopping";
  return item;
}

void sendCommand(EngineState& state, Host& host, Attempt& attempt, proto::Command::Kind kind,
                 const Now& now) {
  proto::Frame frame;
  proto::Command* command = frame.mutable_command();
  refToProto(attempt.record.ref, command->mutable_ref());
  command->set_kind(kind);
  command->set_name(attempt.record.vm_name);
  attempt.asked_at = now.mono;
  state.send(host.session->number, std::move(frame));
}

/// Queues the command that the attempt's wish calls for now, if its host is connected.
void emitWish(EngineState& state, Attempt& attempt, const Now& now) {
  Host* host = state.findHost(attempt.record.host);
  if (host == nullptr || !host->session || attempt.record.state == AttemptState::Placed ||
      isFinal(attempt.record.state)) {
    return;
  }
  if (attempt.record.cancel_wished) {
    sendCommand(state, *host, attempt, proto::Command::CANCEL, now);
    return;
  }
  switch (attempt.record.stop_wished) {
    case AttemptRecord::StopWish::None:
      return;
    case AttemptRecord::StopWish::Shutdown:
      sendCommand(state, *host, attempt, proto::Command::SHUTDOWN, now);
      return;
    case AttemptRecord::StopWish::ForceOff:
      sendCommand(state, *host, attempt, proto::Command::FORCE_OFF, now);
      return;
  }
}

}  // namespace

Result<CheckedStart> checkStart(const EngineState& state, const StartRequest& what,
                                const Now& now) {
  if (auto ok = checkOptions(state, what); !ok) return ok.error();
  Result<std::vector<VmId>> ids = selectVms(state, what.selection);
  if (!ids) return ids.error();
  if (ids->size() > state.options.max_request_vms) {
    return Error{ErrorClass::TooLarge, std::to_string(ids->size()) +
                                           " VMs in one request; at most " +
                                           std::to_string(state.options.max_request_vms)};
  }
  if (state.open_runs + ids->size() > state.options.max_open_runs) {
    return Error{ErrorClass::RateLimited, std::to_string(state.open_runs) +
                                              " runs are open already; wait for some to finish"};
  }
  CheckedStart checked;
  checked.vms = std::move(*ids);
  checked.options.host = what.host;
  checked.options.avoid = what.avoid;
  checked.options.paused = what.paused;
  if (what.deadline) checked.options.deadline = now.wall + *what.deadline;
  return checked;
}

Result<void> checkVm(EngineState& state, const Vm& vm, const RunOptions& options) {
  const std::string& name = vm.record.spec.name;
  if (vm.run) {
    const Run& open = state.run(*vm.run);
    if (open.record.cancel_wished) {
      return Error{ErrorClass::Busy, "VM '" + name + "' is being cancelled; try again shortly"};
    }
    if (!sameWish(open.record.options, options)) {
      return Error{ErrorClass::Busy, "VM '" + name +
                                         "' is being started with another host or paused flag; "
                                         "cancel that request first"};
    }
    return {};
  }
  if (!vm.attempt) return {};
  const AttemptRecord& attempt = state.attempt(*vm.attempt).record;
  if (attempt.stop_wished != AttemptRecord::StopWish::None) {
    return Error{ErrorClass::Busy, "VM '" + name + "' is being stopped; try again when it is"};
  }
  if (attempt.movedAway()) {
    return Error{ErrorClass::Busy, "VM '" + name + "' was " + attempt.error};
  }
  if (attempt.state == AttemptState::Unknown) {
    return Error{ErrorClass::Busy, "VM '" + name + "' may run on host " + attempt.host +
                                       ", which does not answer; it can be started once that is "
                                       "known"};
  }
  if (attempt.state != AttemptState::Running && attempt.state != AttemptState::Ready) {
    return Error{ErrorClass::Busy, "VM '" + name + "' is being started on host " + attempt.host +
                                       "; try again shortly"};
  }
  if (options.host && *options.host != attempt.host) {
    return Error{ErrorClass::Busy, "VM '" + name + "' runs on host " + attempt.host +
                                       "; stop it before it is started on " + *options.host};
  }
  return {};
}

Result<RequestId> createRequest(EngineState& state, const Principal& who, const StartRequest& what,
                                const Now& now) {
  const std::pair key(who.name, what.idempotency_key);
  if (!what.idempotency_key.empty()) {
    if (const auto known = state.keys.find(key); known != state.keys.end()) {
      if (state.request(known->second).record.body_hash != what.body_hash) {
        return Error{ErrorClass::KeyReused, "the idempotency key '" + what.idempotency_key +
                                                "' was used with another body; use a new key"};
      }
      ++state.counters.requests_repeated;
      return known->second;
    }
  }
  const Result<CheckedStart> checked = checkStart(state, what, now);
  if (!checked) return checked.error();
  const auto& [ids, options] = *checked;
  for (const VmId& id : ids) {
    if (auto ok = checkVm(state, state.vm(id), options); !ok) return ok.error();
  }

  const RequestId id{state.newId(now)};
  Request& request = state.requests[id];
  request.record.id = id;
  request.record.principal = who.name;
  request.record.idempotency_key = what.idempotency_key;
  request.record.body_hash = what.body_hash;
  request.record.priority = what.priority.value_or(-1);
  request.record.options = options;
  request.record.total = static_cast<std::uint32_t>(ids.size());
  request.record.created_at = now.wall;
  request.open = request.record.total;
  if (!what.idempotency_key.empty()) state.keys.emplace(key, id);
  state.touchRequest(id);
  state.effects.touched.insert(id);

  for (const VmId& vm_id : ids) {
    Vm& vm = state.vm(vm_id);
    const bool up = runsAlready(state, vm);
    const bool shared = vm.run.has_value();
    Run& run = shared ? state.run(*vm.run) : newRun(state, request, vm, now);
    if (!shared) run.record.priority = what.priority.value_or(vm.record.priority);

    ItemRecord item;
    item.request = id;
    item.position = static_cast<std::uint32_t>(request.items.size());
    item.vm = vm_id;
    item.run = run.record.id;
    run.items.emplace_back(id, item.position);
    request.items.push_back(item);
    state.touchItem(id, item.position);
    if (up) {
      run.record.attempt = vm.attempt;
      finishRun(state, run, RunState::Succeeded, std::nullopt, now);
    } else if (!shared) {
      vm.run = run.record.id;
      makeReady(state, run);
    }
  }
  ++state.counters.requests_accepted;
  if (request.record.priority < 0) request.record.priority = VmRecord{}.priority;
  if (ids.empty()) {
    request.record.finished_at = now.wall;
    state.finished_requests.push_back(id);
  }
  return id;
}

Result<void> cancelRequest(EngineState& state, RequestId id, const Now& now) {
  const auto found = state.requests.find(id);
  if (found == state.requests.end()) {
    return Error{ErrorClass::NotFound,
                 "no request has the id " + id.str() + "; 'vmsctl request list' shows recent ones"};
  }
  Request& request = found->second;
  if (request.record.finished_at || request.record.cancelled) return {};
  request.record.cancelled = true;
  state.touchRequest(id);
  state.effects.touched.insert(id);

  for (std::size_t i = 0; i < request.items.size(); ++i) {
    ItemRecord& item = request.items[i];
    Run& run = state.run(item.run);
    if (item.cancelled || isFinal(run.record.state)) continue;
    const bool shared = std::any_of(run.items.begin(), run.items.end(), [&](const auto& waiter) {
      return waiter.first != id && !state.request(waiter.first).items[waiter.second].cancelled;
    });
    if (shared) {
      // Others still want this VM: only this request is done with it.
      item.cancelled = true;
      state.touchItem(id, item.position);
      finishItem(state, id, now);
    } else {
      cancelRun(state, run, now);
    }
  }
  return {};
}

Result<std::vector<StopItem>> stopVms(EngineState& state, const Principal& who, const StopVms& what,
                                      const Now& now) {
  Result<std::vector<VmId>> ids = selectVms(state, what.selection);
  if (!ids) return ids.error();
  if (ids->size() > state.options.max_request_vms) {
    return Error{ErrorClass::TooLarge, std::to_string(ids->size()) + " VMs in one stop; at most " +
                                           std::to_string(state.options.max_request_vms)};
  }
  std::vector<StopItem> items;
  items.reserve(ids->size());
  for (const VmId& id : *ids) items.push_back(stopOne(state, who, state.vm(id), what.force, now));
  return items;
}

void sendWishes(EngineState& state, const Attempt& attempt) {
  state.wishes_due.insert(attempt.record.ref.attempt);
  if (!mayNeedAsking(attempt.record)) return;
  if (Host* host = state.findHost(attempt.record.host)) {
    host->unsettled.insert(attempt.record.ref.attempt);
  }
}

void emitWishes(EngineState& state, const Now& now) {
  for (const AttemptId& id : std::exchange(state.wishes_due, {})) {
    if (Attempt* attempt = state.findAttempt(id)) emitWish(state, *attempt, now);
  }
}

}  // namespace vms::runner
