#include "runner/engine_state.h"

#include "schema/base/check.h"

namespace vms::runner {
namespace {

template <class Map, class Key>
auto& mustFind(Map& map, const Key& key, const char* what) {
  const auto found = map.find(key);
  VMS_CHECK(found != map.end(), what);
  return found->second;
}

/// Keeps the number of open rows in each state.
template <class State, std::size_t kStates>
void count(std::array<std::size_t, kStates>& counts, std::optional<State> from, State to) {
  if (from && !isFinal(*from)) --counts[static_cast<std::size_t>(*from)];
  if (!isFinal(to)) ++counts[static_cast<std::size_t>(to)];
}

}  // namespace

bool mayNeedAsking(const AttemptRecord& attempt) {
  const bool started =
      attempt.state == AttemptState::Running || attempt.state == AttemptState::Ready;
  return !isFinal(attempt.state) && (!started || attempt.cancel_wished ||
                                     attempt.stop_wished != AttemptRecord::StopWish::None);
}

std::optional<VmId> parseVmId(const std::string& text) {
  const std::optional<Uuid> uuid = Uuid::parse(text);
  if (!uuid) return std::nullopt;
  return VmId{*uuid};
}

EngineState::EngineState(EngineOptions options_in, Rng& rng_in)
    : options(std::move(options_in)), rng(rng_in) {}

Vm& EngineState::vm(VmId id) { return mustFind(vms, id, "a run names a VM that is known"); }
Run& EngineState::run(RunId id) { return mustFind(runs, id, "an open run is in memory"); }
Request& EngineState::request(RequestId id) {
  return mustFind(requests, id, "an unfinished request is in memory");
}
Attempt& EngineState::attempt(AttemptId id) {
  return mustFind(attempts, id, "an open attempt is in memory");
}

Host* EngineState::findHost(const HostId& id) {
  const auto found = hosts.find(id);
  return found == hosts.end() ? nullptr : &found->second;
}

Vm* EngineState::findVm(const std::string& name_or_id) {
  return const_cast<Vm*>(std::as_const(*this).findVm(name_or_id));
}

const Vm* EngineState::findVm(const std::string& name_or_id) const {
  if (const auto name = vm_names.find(name_or_id); name != vm_names.end()) {
    return &vms.find(name->second)->second;
  }
  if (const std::optional<VmId> id = parseVmId(name_or_id)) {
    const auto found = vms.find(*id);
    if (found != vms.end() && found->second.record.defined) return &found->second;
  }
  return nullptr;
}

Attempt* EngineState::findAttempt(AttemptId id) {
  const auto found = attempts.find(id);
  return found == attempts.end() ? nullptr : &found->second;
}

const HostId* EngineState::foreignHostOf(VmId id) const {
  const auto found = foreign.find(id);
  return found == foreign.end() ? nullptr : &*found->second.begin();
}

Run& EngineState::addRun(Run run_in) {
  const auto [at, added] = runs.emplace(run_in.record.id, std::move(run_in));
  VMS_CHECK(added, "a run is added once");
  count<RunState>(runs_by_state_, std::nullopt, at->second.record.state);
  return at->second;
}

Attempt& EngineState::addAttempt(Attempt attempt_in) {
  const auto [at, added] = attempts.emplace(attempt_in.record.ref.attempt, std::move(attempt_in));
  VMS_CHECK(added, "an attempt is added once");
  count<AttemptState>(attempts_by_state_, std::nullopt, at->second.record.state);
  return at->second;
}

void EngineState::setState(Run& run_in, RunState state) {
  VMS_CHECK(mayFollow(run_in.record.state, state), "a run's state follows the table");
  count<RunState>(runs_by_state_, run_in.record.state, state);
  run_in.record.state = state;
  touchRun(run_in.record.id);
}

void EngineState::setState(Attempt& attempt_in, AttemptState state) {
  VMS_CHECK(mayFollow(attempt_in.record.state, state), "an attempt's state follows the table");
  count<AttemptState>(attempts_by_state_, attempt_in.record.state, state);
  attempt_in.record.state = state;
  touchAttempt(attempt_in.record.ref.attempt);
  Host* host = findHost(attempt_in.record.host);
  if (host == nullptr) return;
  if (mayNeedAsking(attempt_in.record)) {
    host->unsettled.insert(attempt_in.record.ref.attempt);
    host->look = host->look || state == AttemptState::Unknown;
  } else {
    host->unsettled.erase(attempt_in.record.ref.attempt);
  }
}

bool EngineState::hasChanges() const {
  return !(dirty_vms_.empty() && dirty_epochs_.empty() && dirty_runs_.empty() &&
           dirty_requests_.empty() && dirty_items_.empty() && dirty_attempts_.empty() &&
           dirty_hosts_.empty() && dirty_tokens_.empty());
}

void EngineState::noteChanges() {
  unseen->vms.insert(dirty_vms_.begin(), dirty_vms_.end());
  unseen->vms.insert(dirty_epochs_.begin(), dirty_epochs_.end());
  for (const RunId& id : dirty_runs_) {
    if (const auto found = runs.find(id); found != runs.end()) noteVm(found->second.record.vm);
  }
  for (const AttemptId& id : dirty_attempts_) {
    if (const Attempt* found = findAttempt(id)) noteVm(found->record.ref.vm);
  }
  unseen->requests.insert(dirty_requests_.begin(), dirty_requests_.end());
  unseen->requests.insert(effects.touched.begin(), effects.touched.end());
}

std::vector<Change> EngineState::takeChanges(const Now& now) {
  if (unseen) noteChanges();
  std::vector<Change> changes;
  changes.reserve(dirty_vms_.size() + dirty_epochs_.size() + dirty_runs_.size() +
                  dirty_requests_.size() + dirty_items_.size() + dirty_attempts_.size() +
                  dirty_hosts_.size());
  for (const HostId& id : dirty_hosts_) {
    if (const Host* host = findHost(id)) changes.emplace_back(host->record);
  }
  for (const VmId& id : dirty_vms_) changes.emplace_back(vm(id).record);
  for (const VmId& id : dirty_epochs_) {
    if (!dirty_vms_.contains(id)) changes.emplace_back(VmEpochRecord{id, vm(id).record.epoch});
  }
  for (const RequestId& id : dirty_requests_) {
    if (const auto found = requests.find(id); found != requests.end()) {
      changes.emplace_back(found->second.record);
    }
  }
  for (const RunId& id : dirty_runs_) {
    const auto found = runs.find(id);
    if (found == runs.end()) continue;
    // A back-off persists what remains of it, because the interval clock ends with the process
    // (S25).
    RunRecord record = found->second.record;
    record.backoff = found->second.not_before && *found->second.not_before > now.mono
                         ? *found->second.not_before - now.mono
                         : Duration{};
    changes.emplace_back(std::move(record));
  }
  for (const auto& [id, position] : dirty_items_) {
    if (const auto found = requests.find(id); found != requests.end()) {
      changes.emplace_back(found->second.items[position]);
    }
  }
  for (const AttemptId& id : dirty_attempts_) {
    if (const Attempt* found = findAttempt(id)) changes.emplace_back(found->record);
  }
  for (const auto& [hash, token] : tokens) {
    if (dirty_tokens_.contains(token.id)) changes.emplace_back(token);
  }
  dirty_vms_.clear();
  dirty_epochs_.clear();
  dirty_runs_.clear();
  dirty_requests_.clear();
  dirty_items_.clear();
  dirty_attempts_.clear();
  dirty_hosts_.clear();
  dirty_tokens_.clear();
  return changes;
}

void EngineState::send(SessionNumber session, proto::Frame frame) {
  frame.set_session(session);
  frame.set_term(marks.term.value);
  effects.frames.push_back({session, std::move(frame)});
}

Effects EngineState::takeEffects() { return std::exchange(effects, Effects{}); }

}  // namespace vms::runner
