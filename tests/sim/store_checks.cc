#include "tests/sim/checkers.h"

/// Rules about what the engine makes durable: history is legal, and agrees with what happened.
namespace vms::sim {

using runner::AttemptRecord;
using runner::RunRecord;

void Checkers::beforeCommit(const std::vector<runner::Change>& changes) {
  for (const runner::Change& change : changes) {
    if (const auto* next = std::get_if<AttemptRecord>(&change)) {
      attemptChanges(*next);
      if (attempt(next->ref.attempt) == nullptr && !isFinal(next->state)) {
        attemptPlaced(*next, changes);
      }
      tellAttempt(*next);
    }
    if (const auto* next = std::get_if<RunRecord>(&change)) runChanges(*next);
    if (const auto* next = std::get_if<runner::VmRecord>(&change)) {
      epochChanges(next->spec.id, next->epoch);
    }
    if (const auto* next = std::get_if<runner::VmEpochRecord>(&change)) {
      epochChanges(next->vm, next->epoch);
    }
  }
}

void Checkers::epochChanges(VmId vm, Epoch next) {
  const auto old = store_.contents().vms.find(vm);
  if (old != store_.contents().vms.end() && next < old->second.epoch) {
    fail("epoch_went_back",
         old->second.spec.name + " goes back to epoch " + std::to_string(next.value));
  }
}

void Checkers::attemptChanges(const AttemptRecord& next) {
  const std::string what = describe(next.ref) + " on " + next.host;
  const AttemptRecord* const old = attempt(next.ref.attempt);
  if (old != nullptr) {
    if (old->ref != next.ref || old->host != next.host || old->run != next.run) {
      fail("attempt_changed_identity", what + " was another attempt before");
    }
    if (old->state != next.state && !mayFollow(old->state, next.state)) {
      fail("transition", what + " goes from " + std::string(vms::nameOf(old->state)) + " to " +
                             std::string(vms::nameOf(next.state)));
    }
    if (isFinal(old->state) && (old->ended_at != next.ended_at || old->proof != next.proof)) {
      fail("history_rewritten", what + " had ended already");
    }
    return;
  }
  if (next.state != AttemptState::Placed && next.state != AttemptState::Sent &&
      next.state != AttemptState::Dropped) {
    fail("transition", what + " begins as " + std::string(vms::nameOf(next.state)));
  }
}

void Checkers::tellAttempt(const AttemptRecord& next) {
  const AttemptRecord* const old = attempt(next.ref.attempt);
  if (next.error_class) errorSeen(*next.error_class);
  if (old != nullptr && old->state == next.state) return;
  if (old != nullptr) {
    edges_.insert("attempt " + std::string(vms::nameOf(old->state)) + " > " +
                  std::string(vms::nameOf(next.state)));
  }
  const std::string why =
      (next.error_class ? " (" + std::string(vms::nameOf(*next.error_class)) + ")" : "") +
      (next.proof ? ", proof: " + std::string(vms::nameOf(*next.proof)) : "");
  const std::string line = "attempt " + describe(next.ref) + " on " + next.host + ": " +
                           std::string(vms::nameOf(next.state)) + why;
  const bool story = next.state == AttemptState::Unknown || isFinal(next.state);
  story ? world_.tell(line) : world_.detail(line);
}

void Checkers::runChanges(const RunRecord& next) {
  backoffNoted(next);
  if (next.error_class) errorSeen(*next.error_class);
  const auto found = store_.contents().runs.find(next.id);
  const bool known = found != store_.contents().runs.end();
  if (next.state == RunState::Held && (!known || found->second.held_reason != next.held_reason)) {
    world_.tell("run of " + next.vm_name + " is held: " + next.held_reason);
  }
  if (!known) return;
  const RunRecord& old = found->second;
  const auto edge = [this](RunState from, RunState to) {
    edges_.insert("run " + std::string(vms::nameOf(from)) + " > " + std::string(vms::nameOf(to)));
  };
  const bool step = mayFollow(old.state, next.state);
  // While a commit is stalled a back-off may begin and end: both steps share the next one.
  const bool through_queue = next.state == RunState::Active &&
                             mayFollow(old.state, RunState::Queued) &&
                             mayFollow(RunState::Queued, next.state);
  if (step && old.state != next.state) edge(old.state, next.state);
  if (!step && old.state != next.state && through_queue) {
    edge(old.state, RunState::Queued);
    edge(RunState::Queued, next.state);
  }
  if (old.state != next.state && !step && !through_queue) {
    fail("transition", "the run of " + next.vm_name + " goes from " +
                           std::string(vms::nameOf(old.state)) + " to " +
                           std::string(vms::nameOf(next.state)));
  }
}

void Checkers::afterCommit(const std::vector<runner::Change>& changes) {
  for (auto& [host, report] : reports_) report.was_ready = report.ready;
  reports_before_ = reports_;
  last_commit_ = world_.now();
  for (const runner::Change& change : changes) {
    if (const auto* next = std::get_if<AttemptRecord>(&change)) {
      std::set<AttemptId>& siblings = attempts_of_[next->ref.vm];
      siblings.insert(next->ref.attempt);
      if (isFinal(next->state)) {
        ended_commit_.try_emplace(next->ref.attempt, store_.contents().marks.commit.value);
        attemptEnds(*next);
      } else {
        for (const AttemptId& id : siblings) {
          const AttemptRecord* const other = attempt(id);
          if (id == next->ref.attempt || other == nullptr) continue;
          if (!isFinal(other->state)) {
            fail("open_twice", describe(next->ref) + " is open on " + next->host + " while epoch " +
                                   std::to_string(other->ref.epoch.value) + " is open on " +
                                   other->host);
          }
          if (other->ref.epoch == next->ref.epoch) {
            fail("epoch_used_twice", describe(next->ref) + " exists twice");
          }
        }
        capacityHolds(next->host);
      }
      if ((next->state == AttemptState::Running || next->state == AttemptState::Ready) &&
          launched_.count(next->ref.attempt) == 0) {
        fail("untrue_history", describe(next->ref) + " is stored as running and never was built");
      }
    }
    if (const auto* next = std::get_if<RunRecord>(&change)) {
      if (isFinal(next->state)) {
        world_.tell("run of " + next->vm_name + ": " + std::string(vms::nameOf(next->state)) +
                    (next->error_class ? " (" + std::string(vms::nameOf(*next->error_class)) + ")"
                                       : std::string()));
      } else if (next->state == RunState::Held) {
        if (next->held_reason.empty()) {
          fail("held_without_reason", "the run of " + next->vm_name + " says nothing");
        }
      }
      if (next->state == RunState::Succeeded) runSucceeds(*next);
      if (next->state == RunState::Cancelled) runCancelled(*next);
    }
    if (const auto* next = std::get_if<runner::VmRecord>(&change); next && !next->defined) {
      for (const AttemptId& id : attempts_of_[next->spec.id]) {
        const AttemptRecord* const row = attempt(id);
        if (row == nullptr || isFinal(row->state)) continue;
        fail("undefined_while_open", describe(row->ref) + " is open and its VM undefined");
      }
    }
  }
}

void Checkers::attemptEnds(const AttemptRecord& next) {
  const std::string what = describe(next.ref) + " on " + next.host;
  const bool ran = resumed_.count(next.ref.attempt) > 0;
  if (ran && next.state != AttemptState::Ended) {
    fail("untrue_history",
         what + " has run and is stored as " + std::string(vms::nameOf(next.state)));
  }
  const WatchedHost* const own = findHost(next.host);
  const auto real = own != nullptr ? own->host->realEnd(next.ref.vm) : std::nullopt;
  const bool obeyed =
      real == hostagent::StopReason::Destroyed || real == hostagent::StopReason::Shutdown;
  // A restored database may have lost the order, and a host that is forgotten tells nothing.
  const bool told =
      next.proof != Proof::Confirmed || next.stop_wished != AttemptRecord::StopWish::None;
  if (obeyed && told && own->journal->wipes() == 0 && stop_done_.count(next.ref.attempt) > 0 &&
      ran && next.error_class == ErrorClass::Crashed) {
    fail("wrong_cause", what + " was stopped as ordered and is stored as crashed");
  }
  for (const auto& [id, watched] : hosts_) {
    const auto found = watched.host->domains().find(next.ref.vm);
    if (found == watched.host->domains().end() || !found->second.info.claim) continue;
    // It was moved, and its host told the truth: it has left, perhaps for a cause that nobody can
    // know (S20).
    const bool known = real == hostagent::StopReason::Migrated && own->journal->wipes() == 0 &&
                       !own->host->endForgotten(next.ref.vm);
    const bool left = next.movedAway() || next.stop_reason == "unwatched" || !known;
    if (moved_.count(next.ref.attempt) > 0 && left) continue;
    // A second create of what has ended may come late and is destroyed, paused as it is (S2).
    const bool late = !found->second.has_executed &&
                      (hadStarted(watched, next.ref) || watched.journal->wipes() > 0);
    if (found->second.info.claim->ref.attempt == next.ref.attempt && !late) {
      fail("untrue_history", what + " is stored as " + std::string(vms::nameOf(next.state)) +
                                 " while its domain exists");
    }
  }
}

void Checkers::runCancelled(const RunRecord& next) {
  if (stop_ordered_.count(next.vm_name) > 0) return;
  for (const auto& [key, item] : store_.contents().items) {
    if (item.run != next.id || item.cancelled) continue;
    const auto request = store_.contents().requests.find(item.request);
    if (request == store_.contents().requests.end() || request->second.cancelled) continue;
    fail("cancelled_for_others",
         "the run of " + next.vm_name + " is cancelled and a request that still wants it is not");
  }
}

void Checkers::runSucceeds(const RunRecord& next) {
  const AttemptRecord* const own = next.attempt ? attempt(*next.attempt) : nullptr;
  const auto vm = store_.contents().vms.find(next.vm);
  if (own != nullptr && own->run == next.id && vm != store_.contents().vms.end() &&
      vm->second.gate.delay > Duration{} && !own->ready_at) {
    fail("gate", "the run of " + next.vm_name + " succeeded before its gate was open");
  }
  for (const AttemptId& id : attempts_of_[next.vm]) {
    const AttemptRecord* const row = attempt(id);
    if (row != nullptr && row->running_at) return;
  }
  fail("untrue_history", "the run of " + next.vm_name + " succeeded and no attempt of it ever ran");
}

void Checkers::capacityHolds(const HostId& id) {
  const WatchedHost* const host = findHost(id);
  if (host == nullptr) {
    fail("unknown_host", "an attempt is stored for host " + id);
    return;
  }
  std::uint64_t reserved = 0;
  for (const auto& [attempt_id, row] : store_.contents().attempts) {
    if (row.host == id && !isFinal(row.state)) reserved += row.memory;
  }
  if (reserved > host->host->memory()) {
    fail("capacity", "open attempts on " + id + " need " + std::to_string(reserved >> 20U) +
                         " MiB and it has " + std::to_string(host->host->memory() >> 20U));
  }
}

}  // namespace vms::sim
