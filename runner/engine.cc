#include "runner/engine.h"

#include <algorithm>
#include <set>
#include <utility>

#include "runner/dispatcher.h"
#include "runner/event_capture.h"
#include "runner/forgotten_hosts.h"
#include "runner/intake.h"
#include "runner/moved_domains.h"
#include "runner/reconciler.h"
#include "runner/run_book.h"
#include "runner/session_book.h"
#include "schema/base/check.h"
#include "schema/frames.h"

namespace vms::runner {
namespace {

void restoreRequests(EngineState& state, Snapshot& snapshot) {
  for (RequestRecord& record : snapshot.requests) {
    if (!record.idempotency_key.empty()) {
      state.keys.emplace(std::pair(record.principal, record.idempotency_key), record.id);
    }
    Request& request = state.requests[record.id];
    request.record = std::move(record);
  }
  std::sort(snapshot.items.begin(), snapshot.items.end(), [](const auto& a, const auto& b) {
    return std::pair(a.request, a.position) < std::pair(b.request, b.position);
  });
  for (const ItemRecord& item : snapshot.items) {
    Request& request = state.request(item.request);
    VMS_CHECK(item.position == request.items.size(), "the items of a request have no gaps");
    request.items.push_back(item);
    Run& run = state.run(item.run);
    run.items.emplace_back(item.request, item.position);
    if (!item.cancelled && !isFinal(run.record.state)) ++request.open;
  }
  std::vector<const RequestRecord*> finished;
  for (const auto& [id, request] : state.requests) {
    if (request.record.finished_at) finished.push_back(&request.record);
  }
  std::sort(finished.begin(), finished.end(), [](const auto* a, const auto* b) {
    return std::pair(*a->finished_at, a->id) < std::pair(*b->finished_at, b->id);
  });
  for (const RequestRecord* record : finished) state.finished_requests.push_back(record->id);
}

/// Puts an open run back to where it waits; back-offs go on where they were (S25).
void resumeRun(EngineState& state, Run& run, const Now& now) {
  RunRecord& record = run.record;
  ++state.open_runs;
  state.vm(record.vm).run = record.id;
  run.waiting_since = now.mono - std::max(Duration{}, now.wall - record.requested_at);
  const bool waits = record.state == RunState::Queued || record.state == RunState::Held;
  const Attempt* attempt = record.attempt ? state.findAttempt(*record.attempt) : nullptr;
  // A deadline is about being sent for the first time.
  const bool unsent = (waits && record.tries == 0 && record.soon_tries == 0) ||
                      (attempt && attempt->record.state == AttemptState::Placed);
  if (record.options.deadline && unsent) {
    run.send_by = now.mono + std::max(Duration{}, *record.options.deadline - now.wall);
    state.deadlines.emplace(*run.send_by, record.id);
  }
  if (!waits) return;
  if (record.backoff > Duration{}) {
    run.not_before = now.mono + record.backoff;
    state.backoffs.emplace(*run.not_before, record.id);
  } else {
    makeReady(state, run);
  }
}

/// Whether the host has told of everything that takes room there, and has answered what it was
/// asked. What it still builds under attempts that a restored store lacks is in no list yet, and
/// its size is not known. A question that waits might be settled wrongly by rules that trust the
/// store.
bool hasReported(const EngineState& state, const Host& host) {
  if (!host.session || !host.session->listed || host.session->staged > 0) return false;
  if (!host.doubted.empty()) return false;
  for (const AttemptId& id : host.open) {
    const AttemptRecord& record = state.attempts.at(id).record;
    if (record.state == AttemptState::Unknown && !record.movedAway()) return false;
  }
  std::set<VmId> untold;
  for (const auto& [vm, session] : host.strangers) untold.insert(vm);
  for (const auto& [key, domain] : host.listed) {
    if (const auto vm = idFromBytes<VmId>(domain.ref().vm())) untold.erase(*vm);
  }
  return untold.empty();
}

/// Whether a restore need not wait for this host any more.
bool isDone(const EngineState& state, const Host& host) {
  return !host.record.forgotten_by.empty() || (host.record.confirmed && hasReported(state, host));
}

}  // namespace

void Engine::restore(Snapshot snapshot, const Now& now) {
  state_.marks = snapshot.marks;
  state_.terms = std::move(snapshot.terms);
  state_.terms.try_emplace(snapshot.marks.term,
                           TermStart{snapshot.marks.commit, snapshot.marks.start});
  // Sessions of an earlier term must not match one of ours.
  state_.last_session = snapshot.marks.term.value << 32U;
  state_.started_at = state_.watched_at = now.mono;
  state_.heartbeat_due = state_.last_seen_due = now.mono;

  for (VmRecord& record : snapshot.vms) {
    if (record.defined) state_.vm_names.emplace(record.spec.name, record.spec.id);
    const VmId id = record.spec.id;
    state_.vms[id].record = std::move(record);
  }
  for (HostRecord& record : snapshot.hosts) {
    Host& host = state_.hosts[record.id];
    for (const std::string& text : record.foreign) {
      const auto vm = parseVmId(text);
      if (!vm) continue;
      state_.foreign[*vm].insert(record.id);
      // What was moved away is not here, and is held by that alone.
      const auto& moved = record.moved;
      if (std::find(moved.begin(), moved.end(), text) == moved.end()) host.remembered.insert(*vm);
    }
    host.listed_boot = record.boot_id;
    host.silent_since = host.last_word = now.mono;
    host.window = batcher::BatchWindow(state_.options.window);
    host.record = std::move(record);
  }
  for (RunRecord& record : snapshot.runs) {
    Run run;
    run.record = std::move(record);
    state_.addRun(std::move(run));
  }
  restoreRequests(state_, snapshot);
  for (TokenRecord& token : snapshot.tokens) {
    const std::string hash = token.hash;
    state_.tokens.emplace(hash, std::move(token));
  }
  std::vector<std::pair<WallTime, AttemptId>> closed;
  for (AttemptRecord& record : snapshot.attempts) {
    const AttemptId id = record.ref.attempt;
    if (isFinal(record.state)) closed.emplace_back(record.ended_at.value_or(WallTime{}), id);
    Attempt attempt;
    attempt.record = std::move(record);
    attempt.came_up = attempt.record.running_at.has_value();
    state_.addAttempt(std::move(attempt));
  }
  std::sort(closed.begin(), closed.end());
  for (const auto& [ended, id] : closed) {
    if (Host* host = state_.findHost(state_.attempt(id).record.host)) host->recent.push_back(id);
  }
  for (auto& [id, run] : state_.runs) {
    if (!isFinal(run.record.state)) resumeRun(state_, run, now);
  }
  restoreAttempts(state_, now);
  state_.capacity_changed = true;
}

Engine::Turn Engine::takeTurn(const Now& now) {
  watchHosts(state_, now);
  // Meeting a higher mark stops starts in this very turn (S8).
  dispatch(state_, mayStart().has_value() && !state_.higher_marks, now);
  emitWishes(state_, now);
  Turn turn;
  turn.changes = state_.takeChanges(now);
  turn.effects = state_.takeEffects();
  turn.effects.events = captureEvents(state_, now);
  turn.higher_marks = std::exchange(state_.higher_marks, std::nullopt);
  boundMemory(state_);
  return turn;
}

Effects Engine::heartbeats() {
  Effects beats;
  for (const auto& [session, host] : state_.sessions) {
    proto::Frame frame = heartbeatFrame(state_);
    frame.set_session(session);
    frame.set_term(state_.marks.term.value);
    beats.frames.push_back({session, std::move(frame)});
  }
  return beats;
}

TimePoint Engine::nextTurn(const Now& now) const {
  return std::min({nextDispatch(state_, now), nextCapture(state_, now), state_.heartbeat_due});
}

void Engine::committed(CommitNumber number) { state_.marks.commit = number; }

void Engine::marksRaised(const Marks& marks) {
  state_.marks = marks;
  state_.terms.try_emplace(marks.term, TermStart{marks.commit, marks.start});
  for (const auto& [session, host] : state_.sessions) state_.effects.close.push_back(session);
}

bool Engine::restoreIsOver() const {
  return state_.marks.restored && !state_.higher_marks && !state_.hosts.empty() &&
         std::all_of(state_.hosts.begin(), state_.hosts.end(),
                     [this](const auto& entry) { return isDone(state_, entry.second); });
}

Result<void> Engine::confirmHost(const HostId& id, const Now& now) {
  Host* host = state_.findHost(id);
  if (host == nullptr) {
    return Error{ErrorClass::NotFound,
                 "no host is called '" + id + "'; 'vmsctl host list' shows those that are known"};
  }
  if (!host->record.forgotten_by.empty()) return alreadyForgotten(host->record);
  const bool about_moves = host->record.confirmed && host->record.alarm.empty();
  if (!host->record.alarm.empty()) {
    // Only the boot that the alarm told of: a clone that comes next is judged as any other.
    host->record.alarm.clear();
    host->vouched_boot = std::exchange(host->refused_boot, {});
    if (host->open.empty()) {
      // Nothing of ours depends on which hypervisor it was, so the next list may name another.
      host->record.hypervisor_uri.clear();
      host->record.hypervisor_host_uuid.clear();
    }
  }
  host->record.confirmed = true;
  // Who confirms an identity or a restore has not said anything about guests that were moved away.
  if (about_moves) confirmMoved(state_, *host, now);
  state_.touchHost(id);
  state_.capacity_changed = true;
  return {};
}

Result<void> Engine::setDraining(const HostId& id, bool on, const Now& now) {
  Host* host = state_.findHost(id);
  if (host == nullptr) {
    return Error{ErrorClass::NotFound,
                 "no host is called '" + id + "'; 'vmsctl host list' shows those that are known"};
  }
  if (host->record.draining == on) return {};
  host->record.draining = on;
  state_.touchHost(id);
  state_.capacity_changed = true;
  if (on) withdrawGathered(state_, *host, now);
  return {};
}

Result<void> Engine::mayStart() const {
  if (!state_.marks.restored) return {};
  std::string waiting;
  for (const auto& [id, host] : state_.hosts) {
    if (isDone(state_, host)) continue;
    waiting += (waiting.empty() ? "" : ", ") + id;
    if (waiting.size() > 200) break;
  }
  return Error{ErrorClass::Unavailable,
               "the database was restored and nothing starts until every host has reported, has "
               "answered what it was asked, builds nothing any more, and was confirmed by an "
               "operator with 'vmsctl host confirm'" +
                   (waiting.empty() ? std::string{} : "; waiting for " + waiting)};
}

}  // namespace vms::runner
