#include "runner/run_book.h"

#include <algorithm>
#include <utility>

#include "batcher/retry_policy.h"
#include "runner/store.h"
#include "schema/base/check.h"

namespace vms::runner {
namespace {

constexpr std::size_t kFinishedRequestsInMemory = 50'000;
constexpr std::size_t kFinishedRunsInMemory = 200'000;
constexpr std::size_t kRecentMarks = 4'096;

/// Takes one entry out of a time-ordered index.
template <class Value>
void eraseEntry(std::multimap<TimePoint, Value>& index, TimePoint when, const Value& value) {
  const auto [first, last] = index.equal_range(when);
  for (auto at = first; at != last; ++at) {
    if (at->second == value) {
      index.erase(at);
      return;
    }
  }
}

void forgetOldRequests(EngineState& state) {
  while (state.finished_requests.size() > kFinishedRequestsInMemory ||
         (state.finished_requests.size() > 1 &&
          state.runs.size() - state.open_runs > kFinishedRunsInMemory)) {
    const RequestId oldest = state.finished_requests.front();
    state.finished_requests.pop_front();
    const auto found = state.requests.find(oldest);
    if (found == state.requests.end()) continue;
    for (const ItemRecord& item : found->second.items) {
      const auto run = state.runs.find(item.run);
      if (run == state.runs.end()) continue;
      auto& items = run->second.items;
      std::erase_if(items, [&](const auto& waiter) { return waiter.first == oldest; });
      if (items.empty() && isFinal(run->second.record.state)) state.runs.erase(run);
    }
    const RequestRecord& record = found->second.record;
    if (!record.idempotency_key.empty()) {
      const auto key = state.keys.find({record.principal, record.idempotency_key});
      if (key != state.keys.end() && key->second == oldest) state.keys.erase(key);
    }
    state.requests.erase(found);
  }
}

void forgetOldAttempts(EngineState& state) {
  for (auto& [id, host] : state.hosts) {
    while (host.recent.size() > state.options.recent_attempts_per_host) {
      state.attempts.erase(host.recent.front());
      host.recent.pop_front();
    }
  }
}

void remember(std::deque<TimePoint>& marks, TimePoint now) {
  marks.push_back(now);
  if (marks.size() > kRecentMarks) marks.pop_front();
}

/// What the way of an attempt that came up was made of. A wall clock that was set back counts as no
/// time.
void observePhases(EngineCounters& counters, const AttemptRecord& record) {
  const auto observe = [&counters](Phase phase, const std::optional<WallTime>& from,
                                   const std::optional<WallTime>& to) {
    if (from && to) counters.observe(phase, std::max(Duration{}, *to - *from));
  };
  observe(Phase::Queue, record.requested_at, record.placed_at);
  observe(Phase::Send, record.placed_at, record.sent_at);
  observe(Phase::Accept, record.sent_at, record.accepted_at);
  observe(Phase::Stage, record.accepted_at, record.staged_at);
  observe(Phase::Build, record.build_started_at, record.built_at);
  observe(Phase::Launch, record.built_at, record.running_at);
  observe(Phase::Total, record.requested_at, record.running_at);
}

}  // namespace

void boundMemory(EngineState& state) {
  VMS_CHECK(!state.hasChanges(), "only what is on its way to the store is forgotten");
  forgetOldRequests(state);
  forgetOldAttempts(state);
}

void touchWatchers(EngineState& state, const Run& run) {
  for (const auto& [request, position] : run.items) state.effects.touched.insert(request);
}

EndCause tooLateFor(const std::string& vm_name) {
  return {ErrorClass::Deadline, "VM '" + vm_name + "' was not sent to a host before its deadline"};
}

bool missedDeadline(const EngineState& state, const AttemptRecord& attempt, const Now& now) {
  if (attempt.sent_at || attempt.accepted_at) return false;
  const auto run = state.runs.find(attempt.run);
  if (run == state.runs.end()) return false;
  const std::optional<WallTime>& deadline = run->second.record.options.deadline;
  return deadline && *deadline <= now.wall;
}

void makeReady(EngineState& state, Run& run) {
  const RunRecord& record = run.record;
  VMS_CHECK(record.state == RunState::Queued || record.state == RunState::Held,
            "only a waiting run is placed");
  run.not_before.reset();
  state.waiting_for_capacity.erase(record.id);
  if (!state.ready.contains(record.id)) {
    state.ready.push(record.id, record.reason, record.priority, run.waiting_since);
  }
}

void unqueue(EngineState& state, Run& run) {
  state.ready.remove(run.record.id);
  state.waiting_for_capacity.erase(run.record.id);
  if (run.not_before) {
    eraseEntry(state.backoffs, *run.not_before, run.record.id);
    run.not_before.reset();
  }
}

Attempt& openAttempt(EngineState& state, Run& run, Host& host, const Now& now) {
  Vm& vm = state.vm(run.record.vm);
  VMS_CHECK(!vm.attempt, "a VM's previous attempt ended before the next one opens");
  vm.record.epoch.value += 1;
  state.touchEpoch(vm.record.spec.id);

  Attempt attempt;
  AttemptRecord& record = attempt.record;
  record.ref.attempt = AttemptId{state.newId(now)};
  record.ref.vm = vm.record.spec.id;
  record.ref.epoch = vm.record.epoch;
  record.run = run.record.id;
  record.request = run.record.request;
  record.vm_name = run.record.vm_name;
  record.host = host.record.id;
  record.boot_id = host.record.boot_id;
  record.term = state.marks.term;
  record.reason = run.record.reason;
  record.requester = run.record.requester;
  record.priority = run.record.priority;
  record.memory = vm.record.spec.memory;
  record.vcpus = vm.record.spec.vcpus;
  record.paused = run.record.options.paused;
  record.requested_at = run.record.requested_at;
  record.placed_at = now.wall;
  attempt.news_at = now.mono;

  vm.attempt = record.ref.attempt;
  run.record.attempt = record.ref.attempt;
  run.record.held_reason.clear();
  run.record.error_class.reset();
  run.record.error.clear();
  state.setState(run, RunState::Active);
  host.open.insert(record.ref.attempt);
  state.inventory.reserve(host.record.id, record.ref.attempt, {record.memory, record.vcpus});
  state.inventory.setPending(host.record.id, record.ref.attempt, true, true);
  state.touchAttempt(record.ref.attempt);
  touchWatchers(state, run);
  return state.addAttempt(std::move(attempt));
}

void closeAttempt(EngineState& state, Attempt& attempt, AttemptState final_state,
                  std::optional<EndCause> cause, const Now& now) {
  VMS_CHECK(isFinal(final_state), "closing means a final state");
  state.setState(attempt, final_state);
  AttemptRecord& record = attempt.record;
  if (cause) {
    record.error_class = cause->error_class;
    record.error = cause->message;
  }
  ++state.counters.attempts_closed[{final_state, record.error_class}];
  if (!record.ended_at) record.ended_at = now.wall;
  if (final_state == AttemptState::Ended && !record.stopped_at) record.stopped_at = now.wall;

  Vm& vm = state.vm(record.ref.vm);
  if (vm.attempt == record.ref.attempt) vm.attempt.reset();
  state.inventory.release(record.host, record.ref.attempt);
  state.capacity_changed = true;
  if (attempt.ready_due) eraseEntry(state.gates, *attempt.ready_due, record.ref.attempt);

  Host* host = state.findHost(record.host);
  if (host == nullptr) return;
  // What the host listed before it ended is no longer there; it sends no list for that.
  if (host->listed.erase(record.ref.attempt.uuid.toBytes()) > 0) {
    state.inventory.unlist(record.host, record.ref.attempt);
  }
  host->open.erase(record.ref.attempt);
  host->recent.push_back(record.ref.attempt);
  // What was cancelled is not the host's failure.
  const bool failed = final_state == AttemptState::Failed && outcomeOf(record) == "failed";
  if (failed) remember(host->recent_failures, now.mono);
}

void attemptRuns(EngineState& state, Attempt& attempt, const Now& now) {
  AttemptRecord& record = attempt.record;
  state.setState(attempt, AttemptState::Running);
  record.error.clear();  // What it waited for is past.
  if (!record.running_at) record.running_at = now.wall;
  if (!std::exchange(attempt.came_up, true)) observePhases(state.counters, record);
  state.inventory.setPending(record.host, record.ref.attempt, false, false);
  state.penalties.praise(record.host);
  if (Host* host = state.findHost(record.host)) remember(host->recent_starts, now.mono);

  const auto found = state.runs.find(record.run);
  if (found == state.runs.end() || isFinal(found->second.record.state)) return;
  Run& run = found->second;
  const Gate& gate = state.vm(record.ref.vm).record.gate;
  if (gate.kind == Gate::Kind::Running) {
    finishRun(state, run, RunState::Succeeded, std::nullopt, now);
    return;
  }
  if (run.record.state != RunState::Running) state.setState(run, RunState::Running);
  armGate(state, attempt, now);
  touchWatchers(state, run);
}

void armGate(EngineState& state, Attempt& attempt, const Now& now) {
  const AttemptId id = attempt.record.ref.attempt;
  if (attempt.ready_due) eraseEntry(state.gates, *attempt.ready_due, id);
  const Duration delay = state.vm(attempt.record.ref.vm).record.gate.delay;
  const Duration ran = now.wall - attempt.record.running_at.value_or(now.wall);
  attempt.ready_due = now.mono + std::clamp(delay - ran, Duration{}, delay);
  state.gates.emplace(*attempt.ready_due, id);
}

void gateOpened(EngineState& state, Attempt& attempt, const Now& now) {
  if (attempt.record.state != AttemptState::Running) return;
  state.setState(attempt, AttemptState::Ready);
  attempt.record.ready_at = now.wall;
  const auto found = state.runs.find(attempt.record.run);
  if (found == state.runs.end() || isFinal(found->second.record.state)) return;
  state.setState(found->second, RunState::Ready);
  finishRun(state, found->second, RunState::Succeeded, std::nullopt, now);
}

void afterFailure(EngineState& state, Run& run, const HostId& host, EndCause cause,
                  const Now& now) {
  if (isFinal(run.record.state)) return;
  run.record.attempt.reset();
  state.touchRun(run.record.id);
  if (run.record.cancel_wished || cause.error_class == ErrorClass::Cancelled) {
    finishRun(state, run, RunState::Cancelled, std::nullopt, now);
    return;
  }
  // The attempt has ended, so there is nothing left to ask: classes that call for a question mean
  // here that this host would not have it.
  const bool settled = traitsOf(cause.error_class).retry == RetryRule::AskHost;
  const batcher::RetryDecision decision = batcher::decideRetry(
      settled ? ErrorClass::HostNotReady : cause.error_class, run.record.reason, run.record.tries,
      run.record.soon_tries, state.options.retry, state.rng);
  if (traitsOf(cause.error_class).blames_host) {
    state.penalties.blame(host, cause.error_class, now.mono);
  }
  if (decision.counted) {
    ++run.record.tries;
    run.record.soon_tries = 0;
  } else {
    ++run.record.soon_tries;
  }
  if (decision.avoid_host) run.record.failed_hosts.push_back(host);

  using Kind = batcher::RetryDecision::Kind;
  switch (decision.kind) {
    case Kind::Fail:
      finishRun(state, run, RunState::Failed, std::move(cause), now);
      return;
    case Kind::Hold:
      holdRun(state, run, std::move(cause), decision.delay, now);
      return;
    case Kind::Ask:
      VMS_CHECK(false, "what has ended is not asked for");
      return;
    case Kind::Retry:
      ++state.counters.runs_retried[cause.error_class];
      run.record.error_class = cause.error_class;
      run.record.error = std::move(cause.message);
      if (run.record.state != RunState::Queued) state.setState(run, RunState::Queued);
      run.not_before = now.mono + decision.delay;
      state.backoffs.emplace(*run.not_before, run.record.id);
      touchWatchers(state, run);
      return;
  }
}

void holdRun(EngineState& state, Run& run, EndCause cause, std::optional<Duration> retry,
             const Now& now) {
  const bool changed =
      run.record.state != RunState::Held || run.record.held_reason != cause.message;
  if (run.record.state != RunState::Held) state.setState(run, RunState::Held);
  run.record.error_class = cause.error_class;
  run.record.held_reason = std::move(cause.message);
  if (changed) {
    state.touchRun(run.record.id);
    touchWatchers(state, run);
  }
  if (retry) {
    run.not_before = now.mono + *retry;
    state.backoffs.emplace(*run.not_before, run.record.id);
  } else {
    state.waiting_for_capacity.insert(run.record.id);
  }
}

void finishRun(EngineState& state, Run& run, RunState outcome, std::optional<EndCause> cause,
               const Now& now) {
  VMS_CHECK(isFinal(outcome), "a run finishes with an outcome");
  unqueue(state, run);
  if (run.send_by) eraseEntry(state.deadlines, *run.send_by, run.record.id);
  state.setState(run, outcome);
  run.record.finished_at = now.wall;
  run.record.held_reason.clear();
  if (cause) {
    run.record.error_class = cause->error_class;
    run.record.error = std::move(cause->message);
  } else {
    run.record.error_class.reset();
    run.record.error.clear();
  }
  ++state.counters.runs_finished[{outcome, run.record.error_class}];
  --state.open_runs;
  Vm& vm = state.vm(run.record.vm);
  if (vm.run == run.record.id) vm.run.reset();

  const auto waiters = run.items;  // finishItem may forget old requests, never this one's run.
  for (const auto& [request, position] : waiters) {
    const auto found = state.requests.find(request);
    if (found == state.requests.end() || found->second.items[position].cancelled) continue;
    finishItem(state, request, now);
  }
}

void finishItem(EngineState& state, RequestId id, const Now& now) {
  Request& request = state.request(id);
  VMS_CHECK(request.open > 0, "a request has as many outcomes as items");
  state.effects.touched.insert(id);
  if (--request.open > 0) return;
  request.record.finished_at = now.wall;
  state.touchRequest(id);
  state.finished_requests.push_back(id);
}

}  // namespace vms::runner
