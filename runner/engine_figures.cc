#include "runner/engine_figures.h"

#include <algorithm>

#include "runner/views.h"

namespace vms::runner {
namespace {

HostFigures figuresOf(const EngineState& state, const Host& host, const Now& now) {
  HostFigures figures;
  figures.host = host.record.id;
  figures.state = hostStateOf(state, host);
  figures.memory = host.record.memory;
  if (const auto* load = state.inventory.find(host.record.id)) {
    figures.memory_free = load->memoryFree();
    figures.memory_reserved = load->memory_reserved;
  }
  figures.attempts_open = host.open.size();
  figures.window_items = host.window.size();
  figures.messages_in_flight = host.window.inFlight();
  if (!host.session) return figures;
  const SessionState& session = *host.session;
  figures.connected = true;
  figures.running = session.running;
  figures.staged = session.staged;
  figures.lane_width = session.lane_width;
  figures.lane_busy = session.lane_busy;
  figures.queue_depth = session.queue_depth;
  figures.credits = session.credits;
  figures.heartbeat_age = std::max(Duration{}, now.mono - session.last_word);
  figures.hypervisor_age = session.hypervisor_age;
  return figures;
}

/// Run ids begin with their time of creation, so the smallest id waits longest.
std::optional<Duration> oldestWaiting(const EngineState& state, const Now& now) {
  std::optional<RunId> oldest = state.ready.oldest();
  const auto older = [&oldest](const RunId& id) {
    if (!oldest || id < *oldest) oldest = id;
  };
  if (!state.waiting_for_capacity.empty()) older(*state.waiting_for_capacity.begin());
  for (const auto& [when, id] : state.backoffs) older(id);
  if (!oldest) return std::nullopt;
  const auto found = state.runs.find(*oldest);
  if (found == state.runs.end()) return std::nullopt;
  return std::max(Duration{}, now.mono - found->second.waiting_since);
}

template <class State, std::size_t kStates>
std::map<State, std::size_t> openOnes(const std::array<std::size_t, kStates>& counts) {
  std::map<State, std::size_t> open;
  for (std::size_t i = 0; i < kStates; ++i) {
    const State state = static_cast<State>(i);
    if (!isFinal(state)) open.emplace(state, counts[i]);
  }
  return open;
}

}  // namespace

EngineFigures figuresOf(const EngineState& state, const Now& now) {
  EngineFigures figures;
  figures.counters = state.counters;
  figures.runs = openOnes<RunState>(state.runsByState());
  figures.attempts = openOnes<AttemptState>(state.attemptsByState());
  for (const RunReason reason : {RunReason::User, RunReason::Ha, RunReason::Rerun}) {
    figures.ready_queue.emplace(reason, state.ready.size(reason));
  }
  figures.waiting_for_capacity = state.waiting_for_capacity.size();
  figures.backing_off = state.backoffs.size();
  figures.oldest_waiting = oldestWaiting(state, now);
  figures.requests_open = state.requests.size() - state.finished_requests.size();
  figures.vms = state.vm_names.size();
  figures.sessions = state.sessions.size();
  figures.term = state.marks.term.value;
  figures.commit = state.marks.commit.value;
  figures.hosts.reserve(state.hosts.size());
  for (const auto& [id, host] : state.hosts) {
    if (host.record.forgotten_by.empty()) figures.hosts.push_back(figuresOf(state, host, now));
  }
  return figures;
}

}  // namespace vms::runner
