#include "hostagent/flows/recover.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "hostagent/core.h"
#include "hostagent/events.h"
#include "hostagent/flows/create.h"
#include "hostagent/flows/steps.h"
#include "hostagent/flows/stop.h"
#include "hostagent/foreign_domains.h"
#include "hostagent/late_domains.h"
#include "schema/base/log.h"

namespace vms::hostagent {
namespace {

enum class Standing { Ours, Late, Unjournaled, Foreign };

Standing standingOf(AgentCore& core, const DomainInfo& info) {
  if (!info.claim || info.claim->host != core.options.host) return Standing::Foreign;
  const AttemptRef& ref = info.claim->ref;
  const Attempt* const attempt = core.ledger.find(ref.attempt);
  if (attempt != nullptr) {
    if (attempt->ref() != ref) return Standing::Foreign;
    if (attempt->open()) return Standing::Ours;
  }
  if (cameLate(core, attempt, info)) return Standing::Late;
  if (attempt != nullptr || ref.epoch <= core.ledger.floorOf(ref.vm)) return Standing::Foreign;
  // What is dying is not taken up. It is held until it is gone.
  if (info.state == DomainState::Dying) return Standing::Foreign;
  return info.claim->boot_id == core.options.boot_id ? Standing::Unjournaled : Standing::Foreign;
}

/// The journal was lost, the domain's own claim was not. It is never resumed on that ground: a
/// guest that a person paused looks the same.
asio::awaitable<void> adopt(AgentCore& core, DomainInfo info) {
  log::warn(
      "domain '{}' carries a claim of this host and boot that the journal does not know; "
      "adopted",
      info.name);
  ClaimRecord record;
  record.claim = *info.claim;
  record.phase = ClaimPhase::Published;
  record.name = info.name;
  record.memory = info.memory;
  record.vcpus = info.vcpus;
  Attempt& attempt = core.ledger.add(std::move(record));
  attempt.paused = info.state == DomainState::Paused;
  core.ledger.stamp(attempt, PhaseStamp::Claimed);
  core.ledger.stamp(attempt, PhaseStamp::Running);
  core.staging.reserve(attempt.ref(), attempt.record.name, info.memory, info.vcpus,
                       StagingState::Published);
  const AttemptRef ref = attempt.ref();
  core.hold(attempt);
  co_await core.ledger.persist();
  core.outbox.report(ref.attempt);
  core.outbox.domainChanged(ref.vm);
  core.release(attempt);
}

void continueCreate(AgentCore& core, const Attempt& attempt) {
  // Before everything new: it has waited longest and may hold resources already.
  core.create_lane.push(LaneJob{attempt.ref().attempt, 1'000, attempt.record.memory});
}

/// An attempt of an earlier boot of the host that had not started: never continued (S11).
asio::awaitable<void> endUnstarted(AgentCore& core, AttemptId id) {
  Attempt& attempt = *core.ledger.find(id);
  core.hold(attempt);
  if (attempt.record.phase == ClaimPhase::Building && !core.identity->local) {
    core.seams.hypervisor.noteLostCall(attempt.ref());
  }
  const std::string why = attempt.record.name + " was not started: the host was rebooted before";
  Error error(ErrorClass::HostNotReady, why);
  co_await discard(core, attempt, std::move(error));
  core.release(attempt);
}

/// A published attempt whose domain the complete list does not have. Decides; does not persist.
asio::awaitable<void> endAbsent(AgentCore& core, AttemptId id) {
  Attempt& attempt = *core.ledger.find(id);
  core.hold(attempt);
  StopReason reason = StopReason::Unwatched;
  if (attempt.stopped) {
    reason = *attempt.stopped;
  } else {
    reason = co_await core.seams.hypervisor.whyEnded(attempt.ref().vm, attempt.record.name);
  }
  const bool rebooted =
      attempt.record.claim.boot_id != core.options.boot_id && core.identity->local;
  // What had ended or left before the reboot did not end with it (S20).
  const bool explained = reason != StopReason::Unwatched || !attempt.record.stop_reason.empty();
  if (rebooted && !explained) {
    decideEnd(core, attempt, StopReason::Failed, "ended with a reboot of the host");
  } else {
    decideEnd(core, attempt, reason);
  }
}

/// A published attempt whose domain is there.
void takeUp(AgentCore& core, Attempt& attempt, const DomainInfo& info) {
  attempt.paused = info.state == DomainState::Paused;
  const AttemptId id = attempt.ref().attempt;
  if (attempt.record.stop_reason == nameOf(StopReason::Destroyed)) {
    // It was promised before the agent ended.
    core.hold(attempt);
    core.destroy_lane.push(LaneJob{id, 0, attempt.record.memory});
  } else if (hasReplaced(attempt, info)) {
    core.hold(attempt);
    core.tasks.spawn("end " + attempt.ref().vm.str(), [&core, id] { return endForSure(core, id); });
  } else if (!attempt.record.running_at) {
    // It may have been resumed, or only been about to (S27).
    attempt.resuming = info.state == DomainState::Running;
    core.hold(attempt);
    core.tasks.spawn("finish start " + attempt.ref().vm.str(),
                     [&core, id] { return finishStart(core, id); });
  }
}

using DomainsByVm = std::map<VmId, DomainInfo>;

/// At the agent's start nobody else works on anything, so that the list speaks for all.
asio::awaitable<void> settleJournal(AgentCore& core, const DomainsByVm& domains) {
  std::vector<AttemptId> ended;
  for (const AttemptId& id : core.ledger.ids()) {
    Attempt& attempt = *core.ledger.find(id);
    if (!attempt.open() || attempt.busy) continue;
    const auto domain = domains.find(attempt.ref().vm);
    const bool present = domain != domains.end() && domain->second.claim &&
                         domain->second.claim->ref == attempt.ref();
    if (attempt.record.phase == ClaimPhase::Published) {
      if (present) {
        takeUp(core, attempt, domain->second);
      } else {
        co_await endAbsent(core, id);
        ended.push_back(id);
      }
    } else if (attempt.record.claim.boot_id != core.options.boot_id) {
      co_await endUnstarted(core, id);
    } else {
      // An earlier life of the agent may have died with its call under way (S2).
      if (attempt.record.phase == ClaimPhase::Building) {
        core.seams.hypervisor.noteLostCall(attempt.ref());
      }
      continueCreate(core, attempt);
    }
  }
  if (ended.empty()) co_return;
  co_await core.ledger.persist();
  for (const AttemptId& id : ended) {
    Attempt& attempt = *core.ledger.find(id);
    tellEnd(core, attempt);
    core.release(attempt);
  }
}

/// Whether the journal speaks of this hypervisor. With nothing open it may be a new one.
bool isKnownHypervisor(AgentCore& core, const HypervisorIdentity& identity) {
  const JournalMarks& marks = core.ledger.marks();
  const bool same =
      marks.hypervisor_uri == identity.uri && marks.hypervisor_host_uuid == identity.host_uuid;
  if (same || marks.hypervisor_uri.empty() || !core.ledger.hasOpen()) return true;
  core.recover_reason = "the journal holds domains of hypervisor " + marks.hypervisor_uri + " (" +
                        marks.hypervisor_host_uuid + "), this one is " + identity.uri + " (" +
                        identity.host_uuid + "); configure the former, or remove the journal";
  return false;
}

void setReason(AgentCore& core, std::string reason) {
  if (reason == core.recover_reason) return;
  log::warn("recovering: {}", reason);
  core.recover_reason = std::move(reason);
}

/// Settles what exists and is not ours by a look of its own: a list may be out of date by now.
/// False: the connection was lost.
asio::awaitable<bool> settleAfresh(AgentCore& core, VmId vm) {
  Pacer pacer(core);
  for (;;) {
    Result<std::optional<DomainInfo>> found = co_await core.seams.hypervisor.lookUp(vm);
    if (found) {
      if (*found) co_await settleDomain(core, std::move(**found));
      co_return true;
    }
    if (!core.seams.hypervisor.connected()) co_return false;
    co_await pacer.pause();
  }
}

/// One comparison. False: something was missing; try again.
asio::awaitable<bool> compare(AgentCore& core) {
  Result<HypervisorIdentity> identity = co_await core.seams.hypervisor.identity();
  if (!identity) {
    setReason(core, "the hypervisor does not say who it is: " + identity.error().message);
    co_return false;
  }
  const std::string reason_before = core.recover_reason;
  if (!isKnownHypervisor(core, *identity)) {
    if (core.recover_reason != reason_before) log::error("recovering: {}", core.recover_reason);
    co_return false;
  }
  // What happens from here on may be missing in the list, and is looked at one by one.
  if (!core.recovered_once) core.inspect_again.clear();
  Result<std::vector<DomainInfo>> listed = co_await core.seams.hypervisor.list();
  if (!listed) {
    setReason(core, "the hypervisor does not list its domains: " + listed.error().message);
    co_return false;
  }
  core.identity = *identity;
  // Durable no later than whatever is adopted here: the journal must say whose domains it holds.
  JournalMarks marks = core.ledger.marks();
  marks.boot_id = core.options.boot_id;
  marks.hypervisor_uri = identity->uri;
  marks.hypervisor_host_uuid = identity->host_uuid;
  core.ledger.setMarks(std::move(marks));
  DomainsByVm domains;
  for (DomainInfo& info : *listed) {
    const VmId vm = info.vm;
    domains.insert_or_assign(vm, std::move(info));
  }
  std::vector<VmId> gone;
  for (const auto& [vm, info] : core.foreign) {
    if (!domains.contains(vm)) gone.push_back(vm);
  }
  for (const VmId& vm : gone) co_await forgetForeign(core, vm);

  if (!core.recovered_once) {
    co_await settleJournal(core, domains);
    core.recovered_once = true;
    const std::set<VmId> waiting = core.inspect_again;
    for (const VmId& vm : waiting) inspect(core, vm);
  } else {
    for (const AttemptId& id : core.ledger.ids()) {
      const Attempt* const attempt = core.ledger.find(id);
      if (attempt->record.phase != ClaimPhase::Published) continue;
      if (!attempt->busy) inspect(core, attempt->ref().vm);
    }
  }
  for (auto& [vm, info] : domains) {
    if (info.claim && standingOf(core, info) != Standing::Ours) {
      const bool settled = co_await settleAfresh(core, vm);
      if (!settled) co_return false;
      continue;
    }
    DomainInfo copy = info;
    co_await settleDomain(core, std::move(copy));
  }
  co_await core.ledger.persist();
  co_return true;
}

}  // namespace

asio::awaitable<void> settleDomain(AgentCore& core, DomainInfo info) {
  const Standing standing = standingOf(core, info);
  core.moved_on.erase(info.vm);
  if (standing != Standing::Foreign && core.foreign.erase(info.vm) > 0) {
    core.foreign_ends.erase(info.vm);
    core.outbox.listDomains();
  }
  switch (standing) {
    case Standing::Ours: {
      Attempt& attempt = *core.ledger.find(info.claim->ref.attempt);
      if (attempt.busy || attempt.record.phase != ClaimPhase::Published) co_return;
      if (attempt.stopped) co_return;  // A look decides whether this is the domain that ran.
      const bool paused = info.state == DomainState::Paused;
      if (std::exchange(attempt.paused, paused) != paused) core.outbox.domainChanged(info.vm);
      co_return;
    }
    case Standing::Late:
      co_await destroyLate(core, info.claim->ref);
      co_return;
    case Standing::Unjournaled:
      if (info.state == DomainState::Starting) {
        inspect(core, info.vm);  // It may yet fail.
      } else {
        co_await adopt(core, std::move(info));
      }
      co_return;
    case Standing::Foreign:
      noteForeign(core, info);
      co_return;
  }
}

asio::awaitable<void> runRecover(AgentCore& core) {
  Pacer pacer(core);
  for (;;) {
    while (core.recovered || !core.seams.hypervisor.connected()) {
      pacer.reset();
      co_await core.recover_wake.wait();
    }
    core.compare_wanted = false;
    const bool compared = co_await compare(core);
    // The connection may have been lost and restored meanwhile: then the list is of before.
    if (!compared || core.compare_wanted) {
      co_await pacer.pause();
      continue;
    }
    core.recovered = true;
    core.recover_reason.clear();
    log::info("ready: {} published, {} staged, {} foreign", core.staging.publishedCount(),
              core.staging.stagedCount(), core.foreign.size());
    core.outbox.heartbeat();
    core.outbox.listDomains();
    core.pumpCreates();
    core.pumpDestroys();
  }
}

}  // namespace vms::hostagent
