#include "runner/engine_state.h"
#include "tests/sim/checkers.h"

/// What must be true once the faults have stopped and the cluster had time.
namespace vms::sim {

using runner::AttemptRecord;
using runner::RunRecord;

std::vector<std::string> Checkers::unsettled() const {
  std::vector<std::string> open;
  unsettledRuns(open);
  unsettledAttempts(open);
  unsettledDomains(open);
  return open;
}

std::set<HostId> Checkers::hostsWithLostMoves() const {
  std::set<HostId> lost, alive;
  for (const auto& [id, row] : store_.contents().attempts) {
    if (isFinal(row.state) || !row.movedAway()) continue;
    lost.insert(row.host);
    for (const auto& [host, watched] : hosts_) {
      if (watched.host->domains().count(row.ref.vm) > 0) alive.insert(row.host);
    }
  }
  for (const auto& [id, row] : store_.contents().hosts) {
    for (const std::string& vm : row.moved) {
      lost.insert(id);
      for (const auto& [host, watched] : hosts_) {
        if (watched.host->domains().count(*runner::parseVmId(vm)) > 0) alive.insert(id);
      }
    }
  }
  for (const HostId& host : alive) lost.erase(host);
  return lost;
}

bool Checkers::heldForGoodReason(const RunRecord& run) const {
  if (run.held_reason.empty()) return false;
  const auto vm = store_.contents().vms.find(run.vm);
  if (vm == store_.contents().vms.end()) return false;
  // A VM that exists outside our control, or whose attempt nobody can account for, is not ours to
  // start; otherwise only a lack of room is an excuse.
  for (const auto& [id, watched] : hosts_) {
    const auto real = watched.host->domains().find(run.vm);
    if (real == watched.host->domains().end()) continue;
    const std::optional<Claim>& claim = real->second.info.claim;
    // Or it was moved, and carries the claim of a host that it left.
    if (!claim || claim->host != watched.name) return true;
    const AttemptRecord* const row = attempt(claim->ref.attempt);
    if (forgotten_.count(claim->ref.attempt) > 0 || row == nullptr || isFinal(row->state)) {
      return true;
    }
  }
  for (const auto& [id, watched] : hosts_) {
    if (run.options.host && *run.options.host != id) continue;
    const auto row = store_.contents().hosts.find(id);
    if (row == store_.contents().hosts.end() || row->second.draining ||
        !row->second.alarm.empty()) {
      continue;
    }
    std::uint64_t used = 0;
    for (const auto& [attempt_id, other] : store_.contents().attempts) {
      if (other.host == id && !isFinal(other.state)) used += other.memory;
    }
    // Nor is there room where something runs that the store knows nothing of.
    for (const auto& [vm_id, domain] : watched.host->domains()) {
      const std::optional<Claim>& claim = domain.info.claim;
      const AttemptRecord* const open = claim ? attempt(claim->ref.attempt) : nullptr;
      const bool counted = open != nullptr && open->host == id && !isFinal(open->state);
      if (!counted) used += domain.info.memory;
    }
    if (used + vm->second.spec.memory <= watched.host->memory()) return false;
  }
  return true;
}

void Checkers::unsettledRuns(std::vector<std::string>& open) const {
  std::map<RequestId, bool> waits;
  const StoreContents& durable = store_.contents();
  for (const auto& [key, item] : durable.items) {
    const auto run = durable.runs.find(item.run);
    if (run == durable.runs.end()) {
      open.push_back("item " + std::to_string(item.position) + " of request " + item.request.str() +
                     " has no run");
    } else if (!isFinal(run->second.state) && !item.cancelled) {
      waits[item.request] = true;
    }
  }
  for (const auto& [id, run] : durable.runs) {
    if (isFinal(run.state)) {
      if (!run.finished_at) open.push_back("run of " + run.vm_name + " is final without a time");
      continue;
    }
    if (run.state == RunState::Held && heldForGoodReason(run)) continue;
    open.push_back("run of " + run.vm_name + " is " + std::string(vms::nameOf(run.state)) +
                   (run.held_reason.empty() ? "" : ": " + run.held_reason));
  }
  for (const auto& [id, request] : durable.requests) {
    if (request.finished_at.has_value() == waits[id]) {
      open.push_back("request " + id.str() +
                     (waits[id] ? " is finished while its runs are not"
                                : " is not finished though its runs are"));
    }
  }
}

void Checkers::unsettledAttempts(std::vector<std::string>& open) const {
  for (const auto& [id, row] : store_.contents().attempts) {
    if (isFinal(row.state)) continue;
    const std::string what = "attempt " + describe(row.ref) + " on " + row.host;
    if (row.state != AttemptState::Running && row.state != AttemptState::Ready) {
      open.push_back(what + " is " + std::string(vms::nameOf(row.state)));
      continue;
    }
    // A guest may ignore a polite request, and a paused one cannot hear it.
    if (row.stop_wished == AttemptRecord::StopWish::ForceOff) {
      open.push_back(what + " runs though it is to stop");
    }
    const WatchedHost* const host = findHost(row.host);
    const auto real = host->host->domains().find(row.ref.vm);
    if (real == host->host->domains().end() || !real->second.info.claim ||
        real->second.info.claim->ref != row.ref) {
      open.push_back(what + " is stored as running and has no domain");
    } else if (host->journal->wipes() == 0 && real->second.executing() == row.paused) {
      open.push_back(what + (row.paused ? " executes though it is to be paused"
                                        : " is paused though it is to run"));
    }
  }
}

void Checkers::unsettledDomains(std::vector<std::string>& open) const {
  for (const auto& [id, watched] : hosts_) {
    for (const auto& [vm, domain] : watched.host->domains()) {
      if (!domain.info.claim) continue;
      if (domain.info.claim->host != watched.name) continue;  // Moved here by somebody else.
      // Or back to where its claim was spent when it left.
      if (moved_.count(domain.info.claim->ref.attempt) > 0 && domain.executing()) continue;
      const AttemptRecord* const row = attempt(domain.info.claim->ref.attempt);
      if (forgotten_.count(domain.info.claim->ref.attempt) > 0) continue;
      // Without a journal its agent cannot know that it came too late; it is left to a person.
      if (watched.journal->wipes() > 0 && !domain.has_executed) continue;
      if (row == nullptr || isFinal(row->state)) {
        open.push_back("domain " + domain.info.name + " on " + id + " is left behind");
      }
    }
    if (watched.host->id() != watched.name) continue;  // A clone's are the original's.
    for (const auto& [attempt_id, claim] : watched.journal->claims()) {
      const AttemptRecord* const row = attempt(attempt_id);
      if (claim.phase == hostagent::ClaimPhase::Claimed ||
          claim.phase == hostagent::ClaimPhase::Building) {
        open.push_back("the journal of " + id + " holds an unfinished claim of " +
                       describe(claim.claim.ref));
      } else if (claim.phase == hostagent::ClaimPhase::Gone && row != nullptr && !claim.end_acked) {
        open.push_back("the end of " + describe(claim.claim.ref) + " on " + id +
                       " was never acknowledged");
      }
    }
  }
}

}  // namespace vms::sim
