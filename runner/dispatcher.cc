#include "runner/dispatcher.h"

#include <algorithm>

#include "batcher/placement.h"
#include "runner/moved_domains.h"
#include "runner/run_book.h"
#include "schema/base/check.h"
#include "schema/frames.h"

namespace vms::runner {
namespace {

using batcher::Placement;
using Verdict = batcher::ReadyQueue::Verdict;

void wakeDue(EngineState& state, const Now& now) {
  while (!state.deadlines.empty() && state.deadlines.begin()->first <= now.mono) {
    const RunId id = state.deadlines.begin()->second;
    state.deadlines.erase(state.deadlines.begin());
    Run& run = state.run(id);
    run.send_by.reset();
    const EndCause cause = tooLateFor(run.record.vm_name);
    if (run.record.state == RunState::Queued || run.record.state == RunState::Held) {
      finishRun(state, run, RunState::Failed, cause, now);
    } else if (run.record.attempt) {
      Attempt& attempt = state.attempt(*run.record.attempt);
      if (attempt.record.state != AttemptState::Placed) continue;
      closeAttempt(state, attempt, AttemptState::Dropped, cause, now);
      run.record.attempt.reset();
      finishRun(state, run, RunState::Failed, cause, now);
    }
  }
  while (!state.backoffs.empty() && state.backoffs.begin()->first <= now.mono) {
    Run& run = state.run(state.backoffs.begin()->second);
    state.backoffs.erase(state.backoffs.begin());
    makeReady(state, run);
  }
  while (!state.gates.empty() && state.gates.begin()->first <= now.mono) {
    Attempt* attempt = state.findAttempt(state.gates.begin()->second);
    state.gates.erase(state.gates.begin());
    if (attempt == nullptr) continue;
    attempt->ready_due.reset();
    gateOpened(state, *attempt, now);
  }
  if (std::exchange(state.capacity_changed, false)) {
    const std::set<RunId> waiting = std::exchange(state.waiting_for_capacity, {});
    for (const RunId& id : waiting) makeReady(state, state.run(id));
  }
}

void refreshFacts(EngineState& state) {
  for (auto& [id, host] : state.hosts) {
    if (!host.record.forgotten_by.empty()) continue;
    const std::string why_not = whyNotSchedulable(state, host);
    batcher::HostFacts facts;
    facts.cpus = host.record.cpus;
    facts.memory = host.record.memory;
    facts.schedulable = why_not.empty();
    facts.why_not = why_not;
    if (host.session) {
      facts.credits = host.session->credits;
      facts.lane_width = std::max(1u, host.session->lane_width);
    }
    state.inventory.setFacts(id, std::move(facts));
  }
}

bool anyHostTakesMore(const EngineState& state) {
  const auto& hosts = state.inventory.hosts();
  return std::any_of(hosts.begin(), hosts.end(), [](const auto& entry) {
    const batcher::Inventory::Host& host = entry.second;
    return host.facts.schedulable && host.unanswered < host.facts.credits;
  });
}

bool anyHostSchedulable(const EngineState& state) {
  const auto& hosts = state.inventory.hosts();
  return std::any_of(hosts.begin(), hosts.end(),
                     [](const auto& entry) { return entry.second.facts.schedulable; });
}

/// Places one run, or decides how it waits.
Verdict placeRun(EngineState& state, Run& run, const Now& now) {
  const Vm& vm = state.vm(run.record.vm);
  if (const auto elsewhere = whereElse(state, run.record.vm)) {
    const EndCause cause{ErrorClass::Foreign, "VM '" + run.record.vm_name + "' " + elsewhere->what +
                                                  "; " + elsewhere->next_step};
    holdRun(state, run, cause, std::nullopt, now);
    return Verdict::Take;
  }
  batcher::PlacementQuery query;
  query.demand = {vm.record.spec.memory, vm.record.spec.vcpus};
  query.only = run.record.options.host;
  query.avoid = run.record.options.avoid;
  query.rather_not = run.record.failed_hosts;
  batcher::PlacementLimits limits;
  limits.vcpu_ratio = state.options.vcpu_ratio;
  const Placement placement =
      batcher::place(query, state.inventory, state.penalties, now.mono, limits);
  switch (placement.kind) {
    case Placement::Kind::Full:
      return Verdict::Skip;
    case Placement::Kind::NoCapacity:
      holdRun(state, run, {ErrorClass::NoCapacity, placement.why}, std::nullopt, now);
      return Verdict::Take;
    case Placement::Kind::Impossible:
      if (run.record.reason == RunReason::Ha) {
        holdRun(state, run, {ErrorClass::NoCapacity, placement.why}, std::nullopt, now);
      } else {
        finishRun(state, run, RunState::Failed,
                  EndCause{ErrorClass::Invalid,
                           "VM '" + run.record.vm_name + "' fits no host: " + placement.why},
                  now);
      }
      return Verdict::Take;
    case Placement::Kind::Fits:
      break;
  }
  Host& host = *state.findHost(placement.host);
  const Attempt& attempt = openAttempt(state, run, host, now);
  host.gathered.push_back(attempt.record.ref.attempt);
  host.window.add(now.mono, vm.record.xml.size(), run.send_by);
  return Verdict::Take;
}

void sendBatch(EngineState& state, Host& host, const Now& now) {
  const BatchId batch{state.newId(now)};
  const std::size_t limit = host.window.batchLimit();
  std::vector<AttemptId> ids;
  std::set<RequestId> requests;
  std::size_t bytes = 0;
  while (ids.size() < limit && !host.gathered.empty()) {
    const AttemptId id = host.gathered.front();
    Attempt& attempt = state.attempt(id);
    const std::size_t size = state.vm(attempt.record.ref.vm).record.xml.size();
    if (!ids.empty() && bytes + size > state.options.window.max_bytes) break;
    host.gathered.pop_front();
    bytes += size;
    attempt.record.batch = batch;
    attempt.record.sent_at = now.wall;
    attempt.news_at = now.mono;
    state.setState(attempt, AttemptState::Sent);
    Run& run = state.run(attempt.record.run);
    if (run.send_by) {
      const auto [first, last] = state.deadlines.equal_range(*run.send_by);
      const auto at = std::find_if(
          first, last, [&](const auto& entry) { return entry.second == run.record.id; });
      if (at != last) state.deadlines.erase(at);
      run.send_by.reset();
    }
    for (const auto& [request, position] : run.items) requests.insert(request);
    ids.push_back(id);
  }
  if (ids.empty()) return;
  ++state.counters.windows_closed[host.window.closeReason(now.mono)];
  host.window.sent(now.mono, ids.size(), bytes);
  host.in_flight.push_back({batch});
  for (const RequestId& request : requests) {
    ++state.request(request).record.batches;
    state.touchRequest(request);
    state.effects.touched.insert(request);
  }
  state.send(host.session->number, bulkCreate(state, batch, ids));
}

/// Forgets attempts that were cancelled or missed their deadline while they gathered.
void dropClosed(EngineState& state, Host& host) {
  std::erase_if(host.gathered, [&](const AttemptId& id) {
    const Attempt* attempt = state.findAttempt(id);
    if (attempt != nullptr && attempt->record.state == AttemptState::Placed) return false;
    host.window.remove(attempt == nullptr ? 0 : state.vm(attempt->record.ref.vm).record.xml.size());
    return true;
  });
}

}  // namespace

std::string whyNotSchedulable(const EngineState& state, const Host& host) {
  if (!host.record.forgotten_by.empty()) return "forgotten by " + host.record.forgotten_by;
  if (!host.record.alarm.empty()) return "quarantined: " + host.record.alarm;
  if (!host.record.confirmed) return "waiting for an operator to confirm it";
  if (host.record.draining) return "draining";
  if (!host.session) return "not connected";
  const SessionState& session = *host.session;
  switch (session.readiness) {
    case proto::READY:
      break;
    case proto::RECOVERING:
      return "recovering";
    case proto::STOPPING:
      return "stopping";
    default:
      return "not ready: " + (session.not_ready_reason.empty()
                                  ? std::string("its hypervisor does not answer")
                                  : session.not_ready_reason);
  }
  if (!session.listed) return "recovering";
  if (session.hypervisor_age > state.options.hypervisor_timeout) {
    return "not ready: its hypervisor has not answered for " +
           formatDuration(session.hypervisor_age);
  }
  if (host.lost || state.watched_at - session.heard_at >= state.options.suspect_after) {
    return "silent";
  }
  return {};
}

void dispatch(EngineState& state, bool may_start, const Now& now) {
  wakeDue(state, now);
  refreshFacts(state);
  // With no host in sight placement still runs, so that runs are HELD and say why; but not while
  // agents are still finding an engine that has just started.
  const bool settled = now.mono >= state.started_at + state.options.suspect_after;
  if (may_start && (anyHostTakesMore(state) || (settled && !anyHostSchedulable(state)))) {
    std::size_t skipped = 0;
    state.ready.drain([&](RunId id) {
      // Once every intake is full the rest keeps its order; asking each of thousands would be idle.
      if (skipped > 0 && !anyHostTakesMore(state)) return Verdict::Stop;
      const Verdict verdict = placeRun(state, state.run(id), now);
      if (verdict == Verdict::Skip) ++skipped;
      return verdict;
    });
  }
  for (auto& [id, host] : state.hosts) {
    if (host.gathered.empty()) continue;
    dropClosed(state, host);
    if (!whyNotSchedulable(state, host).empty()) {
      withdrawGathered(state, host, now);
      continue;
    }
    for (auto closes = host.window.closesAt(now.mono); closes && *closes <= now.mono;
         closes = host.window.closesAt(now.mono)) {
      sendBatch(state, host, now);
    }
  }
}

TimePoint nextDispatch(const EngineState& state, const Now& now) {
  TimePoint next = TimePoint::max();
  const auto sooner = [&](TimePoint when) { next = std::min(next, when); };
  if (!state.deadlines.empty()) sooner(state.deadlines.begin()->first);
  if (!state.backoffs.empty()) sooner(state.backoffs.begin()->first);
  if (!state.gates.empty()) sooner(state.gates.begin()->first);
  if (!state.ready.empty()) {
    const TimePoint settled = state.started_at + state.options.suspect_after;
    if (settled > now.mono) sooner(settled);
  }
  for (const auto& [id, host] : state.hosts) {
    if (const auto closes = host.window.closesAt(now.mono)) sooner(*closes);
  }
  return next;
}

void withdrawGathered(EngineState& state, Host& host, const Now& now) {
  dropClosed(state, host);
  while (!host.gathered.empty()) {
    const AttemptId id = host.gathered.front();
    host.gathered.pop_front();
    Attempt& attempt = state.attempt(id);
    host.window.remove(state.vm(attempt.record.ref.vm).record.xml.size());
    closeAttempt(state, attempt, AttemptState::Dropped, std::nullopt, now);
    Run& run = state.run(attempt.record.run);
    run.record.attempt.reset();
    state.setState(run, RunState::Queued);
    touchWatchers(state, run);
    makeReady(state, run);
  }
}

proto::Frame bulkCreate(EngineState& state, BatchId batch, const std::vector<AttemptId>& attempts) {
  proto::Frame frame;
  proto::BulkCreate* bulk = frame.mutable_bulk_create();
  bulk->set_batch(batch.uuid.toBytes());
  for (const AttemptId& id : attempts) {
    const AttemptRecord& record = state.attempt(id).record;
    const VmRecord& vm = state.vm(record.ref.vm).record;
    proto::CreateItem* item = bulk->add_items();
    item->set_attempt(record.ref.attempt.uuid.toBytes());
    item->set_vm(record.ref.vm.uuid.toBytes());
    item->set_epoch(record.ref.epoch.value);
    item->set_name(vm.spec.name);
    item->set_domain_xml(vm.xml);
    item->set_memory(record.memory);
    item->set_vcpus(record.vcpus);
    item->set_paused(record.paused);
    item->set_priority(static_cast<std::uint32_t>(record.priority));
  }
  return frame;
}

}  // namespace vms::runner
