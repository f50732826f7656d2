#include "runner/event_capture.h"

#include <cstddef>
#include <set>
#include <utility>

#include "runner/views.h"

namespace vms::runner {
namespace {

/// Changes gather for so long.
constexpr Duration kInterval = milliseconds(100);
/// Rows, or items of requests, that one turn looks at beside what it does for its own sake.
constexpr std::size_t kSlice = 8'192;

/// Tells VMs that were never told, in order.
void fillVms(const EngineState& state, Unseen& unseen, EventBatch& batch) {
  auto at = unseen.vms_told ? state.vms.upper_bound(*unseen.vms_told) : state.vms.begin();
  for (std::size_t i = 0; i < kSlice && at != state.vms.end(); ++i, ++at) {
    unseen.vms_told = at->first;
    batch.vms.push_back(eventOf(state, at->second));
  }
  unseen.all_vms = at == state.vms.end();
}

void tellRequest(const EngineState& state, const Request& request, EventBatch& batch,
                 const Now& now) {
  RequestView view = viewOf(state, request, now);
  view.failures.clear();
  batch.requests.push_back(std::move(view));
}

/// Tells active requests that were never told, in order.
void fillRequests(const EngineState& state, Unseen& unseen, EventBatch& batch, const Now& now) {
  auto at = unseen.requests_told ? state.requests.upper_bound(*unseen.requests_told)
                                 : state.requests.begin();
  for (std::size_t cost = 0; cost < kSlice && at != state.requests.end(); ++at) {
    unseen.requests_told = at->first;
    cost += 1;
    if (at->second.record.finished_at) continue;
    cost += at->second.items.size();
    tellRequest(state, at->second, batch, now);
  }
  unseen.all_requests = at == state.requests.end();
}

/// Goes on where the last look ended, so that none waits for ever.
template <class Id, class Tell>
void takeTurns(std::set<Id>& unseen, Id& next, const Tell& tell) {
  auto at = unseen.lower_bound(next);
  for (std::size_t cost = 0; cost < kSlice && !unseen.empty();) {
    if (at == unseen.end()) at = unseen.begin();
    cost += tell(*at);
    at = unseen.erase(at);
  }
  next = at == unseen.end() ? Id{} : *at;
}

void tellVms(const EngineState& state, Unseen& unseen, EventBatch& batch) {
  takeTurns(unseen.vms, unseen.next_vm, [&](const VmId& id) -> std::size_t {
    const auto found = state.vms.find(id);
    const bool later = !unseen.all_vms && (!unseen.vms_told || id > *unseen.vms_told);
    if (!later && found != state.vms.end()) batch.vms.push_back(eventOf(state, found->second));
    return 1;
  });
}

void tellRequests(const EngineState& state, Unseen& unseen, EventBatch& batch, const Now& now) {
  takeTurns(unseen.requests, unseen.next_request, [&](const RequestId& id) -> std::size_t {
    const auto found = state.requests.find(id);
    if (found == state.requests.end()) return 1;
    tellRequest(state, found->second, batch, now);
    return 1 + found->second.items.size();
  });
}

void tellHosts(const EngineState& state, Unseen& unseen, EventBatch& batch) {
  for (const auto& [id, host] : state.hosts) {
    if (!host.record.forgotten_by.empty() && !unseen.hosts.contains(id)) continue;
    HostEvent event = eventOf(state, host);
    HostEvent& before = unseen.hosts[id];
    if (before == event) continue;
    before = event;
    batch.hosts.push_back(std::move(event));
  }
}

}  // namespace

void startCapture(EngineState& state) {
  state.unseen.emplace();
  state.unseen->capture = ++state.captures;
}

std::optional<EventBatch> captureEvents(EngineState& state, const Now& now) {
  if (!state.unseen) return std::nullopt;
  Unseen& unseen = *state.unseen;
  const bool filled = unseen.all_vms && unseen.all_requests;
  unseen.look_again = filled && now.mono < unseen.due;
  if (unseen.look_again) return std::nullopt;
  EventBatch batch;
  batch.capture = unseen.capture;
  tellVms(state, unseen, batch);
  if (!unseen.all_vms) fillVms(state, unseen, batch);
  if (!unseen.all_requests) {
    fillRequests(state, unseen, batch, now);
  } else {
    tellRequests(state, unseen, batch, now);
  }
  tellHosts(state, unseen, batch);
  const bool more = !unseen.vms.empty();
  unseen.due = more ? now.mono : now.mono + kInterval;
  batch.complete = !filled && unseen.all_vms && unseen.all_requests;
  if (!batch.complete && batch.vms.empty() && batch.requests.empty() && batch.hosts.empty()) {
    return std::nullopt;
  }
  return batch;
}

TimePoint nextCapture(const EngineState& state, const Now& now) {
  if (!state.unseen) return TimePoint::max();
  const Unseen& unseen = *state.unseen;
  if (!unseen.all_vms || !unseen.all_requests) return now.mono;
  const bool nothing = unseen.vms.empty() && unseen.requests.empty() && !unseen.look_again;
  return nothing ? TimePoint::max() : unseen.due;
}

}  // namespace vms::runner
