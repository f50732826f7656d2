#include "runner/views.h"

#include <algorithm>
#include <set>
#include <utility>

#include "runner/dispatcher.h"
#include "runner/domain_report.h"
#include "runner/doubted_domains.h"
#include "runner/moved_domains.h"

namespace vms::runner {
namespace {

constexpr std::size_t kMaxFailures = 100;

const Attempt* attemptOf(const EngineState& state, const std::optional<AttemptId>& id) {
  if (!id) return nullptr;
  const auto found = state.attempts.find(*id);
  return found == state.attempts.end() ? nullptr : &found->second;
}

void countActive(const Attempt* attempt, RequestView& view) {
  switch (attempt == nullptr ? AttemptState::Placed : attempt->record.state) {
    case AttemptState::Sent:
      ++view.sent;
      return;
    case AttemptState::Staged:
      ++view.staged;
      return;
    case AttemptState::Building:
      ++view.building;
      return;
    case AttemptState::Running:
      ++view.running;
      return;
    case AttemptState::Ready:
      ++view.ready;
      return;
    case AttemptState::Unknown:
      ++view.unknown;
      return;
    default:
      ++view.placed;
      return;
  }
}

void countItem(const EngineState& state, const ItemRecord& item, RequestView& view) {
  const auto found = state.runs.find(item.run);
  if (item.cancelled || found == state.runs.end()) {
    ++view.cancelled;
    return;
  }
  const RunRecord& run = found->second.record;
  const Attempt* attempt = attemptOf(state, run.attempt);
  switch (run.state) {
    case RunState::Queued:
      ++view.queued;
      return;
    case RunState::Active:
      countActive(attempt, view);
      return;
    case RunState::Held:
      ++view.held;
      break;
    case RunState::Running:
      ++view.running;
      return;
    case RunState::Ready:
      ++view.ready;
      return;
    case RunState::Succeeded:
      ++(attempt != nullptr && attempt->record.ready_at ? view.ready : view.running);
      return;
    case RunState::Failed:
      ++view.failed;
      break;
    case RunState::Cancelled:
      ++view.cancelled;
      return;
  }
  if (view.failures.size() >= kMaxFailures) return;
  RequestView::Failure failure;
  failure.vm_name = run.vm_name;
  failure.host = attempt != nullptr         ? attempt->record.host
                 : run.failed_hosts.empty() ? std::string{}
                                            : run.failed_hosts.back();
  failure.error_class = run.error_class ? std::string(nameOf(*run.error_class)) : std::string{};
  failure.error = run.state == RunState::Held ? run.held_reason : run.error;
  view.failures.push_back(std::move(failure));
}

/// What is left, at the pace so far.
std::optional<Duration> etaOf(const RequestView& view, const Now& now) {
  const std::uint32_t done = view.running + view.ready + view.failed + view.cancelled;
  const std::uint32_t left = view.request.total - done;
  if (left == 0) return Duration{};
  if (done == 0) return std::nullopt;
  const Duration elapsed = std::max<Duration>(milliseconds(1), now.wall - view.request.created_at);
  return elapsed / done * left;
}

std::string nameOrId(const EngineState& state, VmId id) {
  const auto vm = state.vms.find(id);
  return vm == state.vms.end() ? id.str() : vm->second.record.spec.name;
}

/// What the host lists as foreign, and the VMs of ours that exist there though nothing is open.
std::vector<std::string> foreignNames(const EngineState& state, const Host& host) {
  std::set<std::string> names;
  for (const auto& [key, domain] : host.listed) {
    if (domain.foreign()) names.insert(domain.name());
  }
  for (const VmId& vm : foreignHere(host)) {
    if (!listsForeign(host, vm)) names.insert(nameOrId(state, vm));
  }
  return {names.begin(), names.end()};
}

std::vector<std::string> movedNames(const EngineState& state, const Host& host) {
  std::set<std::string> names;
  for (const std::string& text : host.record.moved) {
    names.insert(nameOrId(state, *parseVmId(text)));
  }
  for (const AttemptId& id : host.open) {
    const AttemptRecord& record = state.attempts.find(id)->second.record;
    if (record.movedAway()) names.insert(record.vm_name);
  }
  return {names.begin(), names.end()};
}

}  // namespace

VmEvent eventOf(const EngineState& state, const Vm& vm) {
  VmEvent event;
  event.vm = vm.record.spec.id;
  event.vm_name = vm.record.spec.name;
  event.state = vm.record.defined ? "stopped" : "undefined";
  if (const Attempt* attempt = attemptOf(state, vm.attempt)) {
    const AttemptRecord& record = attempt->record;
    event.host = record.host;
    event.state = nameOf(record.state);
    if (record.state == AttemptState::Unknown) {
      event.state_reason = "host " + record.host + " does not answer";
    }
    if (!record.error.empty()) event.state_reason = record.error;
    if (event.state_reason.empty()) {
      if (const auto other = whereElse(state, record.ref.vm)) {
        event.state_reason = "also " + other->what;
      }
    }
    return event;
  }
  if (vm.run) {
    const RunRecord& run = state.runs.find(*vm.run)->second.record;
    event.state = nameOf(run.state);
    event.state_reason = run.held_reason;
  } else if (const auto elsewhere = whereElse(state, vm.record.spec.id)) {
    event.state_reason = elsewhere->what;
  }
  return event;
}

VmView viewOf(const EngineState& state, const Vm& vm) {
  VmEvent event = eventOf(state, vm);
  VmView view;
  view.vm = vm.record;
  view.state = std::move(event.state);
  view.state_reason = std::move(event.state_reason);
  if (const Attempt* attempt = attemptOf(state, vm.attempt)) view.attempt = attempt->record;
  for (const std::string& name : vm.record.after) {
    if (state.findVm(name) == nullptr) view.after_undefined.push_back(name);
  }
  return view;
}

RequestView viewOf(const EngineState& state, const Request& request, const Now& now) {
  RequestView view;
  view.request = request.record;
  view.batches = request.record.batches;
  for (const ItemRecord& item : request.items) countItem(state, item, view);
  if (!request.record.finished_at) {
    view.state = "active";
    view.eta = etaOf(view, now);
  } else if (view.failed > 0) {
    view.state = "failed";
  } else {
    view.state = view.cancelled > 0 ? "cancelled" : "succeeded";
  }
  return view;
}

std::string_view hostStateOf(const EngineState& state, const Host& host) {
  if (!host.record.forgotten_by.empty()) return "forgotten";
  if (!host.record.alarm.empty()) return "quarantined";
  if (!host.session) return "disconnected";
  if (!host.record.confirmed) return "unconfirmed";
  if (host.record.draining) return "draining";
  const std::string why_not = whyNotSchedulable(state, host);
  if (why_not.empty()) return "ready";
  return why_not == "recovering" ? "recovering" : "not_ready";
}

HostEvent eventOf(const EngineState& state, const Host& host) {
  HostEvent event;
  event.host = host.record.id;
  event.state_reason = whyNotSchedulable(state, host);
  event.state = hostStateOf(state, host);
  return event;
}

HostView viewOf(const EngineState& state, const Host& host, const Now& now) {
  HostEvent event = eventOf(state, host);
  HostView view;
  view.host = host.record;
  view.state = std::move(event.state);
  view.state_reason = std::move(event.state_reason);
  if (const auto* load = state.inventory.find(host.record.id)) {
    view.memory_free = load->memoryFree();
    view.reserved_memory = load->memory_reserved;
  }
  if (host.session) {
    view.staged = host.session->staged;
    view.lane_width = host.session->lane_width;
    view.lane_busy = host.session->lane_busy;
    view.queue_depth = host.session->queue_depth;
  }
  for (const AttemptId& id : host.open) {
    const AttemptState attempt = state.attempts.find(id)->second.record.state;
    if (attempt == AttemptState::Running || attempt == AttemptState::Ready) ++view.running;
  }
  const auto since = [&](const std::deque<TimePoint>& marks, Duration window) {
    return marks.end() - std::lower_bound(marks.begin(), marks.end(), now.mono - window);
  };
  view.starts_per_s = static_cast<double>(since(host.recent_starts, seconds(60))) / 60.0;
  view.failures_recent =
      static_cast<std::uint32_t>(since(host.recent_failures, std::chrono::minutes(10)));
  view.foreign_domains = foreignNames(state, host);
  view.moved_domains = movedNames(state, host);
  return view;
}

std::vector<StagingItem> stagingOf(const EngineState& state, const Host& host) {
  std::vector<StagingItem> items;
  for (const AttemptId& id : host.open) {
    const AttemptRecord& record = state.attempts.find(id)->second.record;
    if (record.state != AttemptState::Staged && record.state != AttemptState::Building) continue;
    StagingItem item;
    item.ref = record.ref;
    item.vm_name = record.vm_name;
    item.state = record.state;
    item.since = record.build_started_at.value_or(
        record.staged_at.value_or(record.accepted_at.value_or(record.placed_at)));
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace vms::runner
