#include "hostagent/events.h"

#include <utility>

#include "hostagent/core.h"
#include "hostagent/flows/recover.h"
#include "hostagent/flows/steps.h"
#include "hostagent/flows/stop.h"
#include "hostagent/foreign_domains.h"
#include "hostagent/late_domains.h"
#include "schema/base/log.h"

namespace vms::hostagent {
namespace {

void onConnection(AgentCore& core, bool restored) {
  log::info("hypervisor: connection {}", restored ? "restored" : "lost");
  core.recovered = false;
  core.compare_wanted = true;
  core.recover_wake.notify();
  core.outbox.heartbeat();
}

/// Whether somebody works on the domain of `vm`; the hint then waits for them.
bool leaveToFlow(Attempt* attempt, std::optional<StopReason> stopped) {
  if (attempt == nullptr || !attempt->busy) return false;
  attempt->attention = true;
  if (stopped) attempt->stopped = stopped;
  return true;
}

/// Changes whenever an answer about the VM that was asked for before would be out of date.
struct Moment {
  AttemptId attempt;
  std::uint64_t version = 0;
  bool operator==(const Moment&) const = default;
};

Moment momentOf(AgentCore& core, VmId vm) {
  const Attempt* const attempt = core.ledger.openOf(vm);
  return attempt == nullptr ? Moment{} : Moment{attempt->ref().attempt, attempt->version};
}

/// One look. False: ask again, the answer was out of date or the domain is on its way out.
asio::awaitable<bool> lookOnce(AgentCore& core, VmId vm) {
  const Moment before = momentOf(core, vm);
  const Attempt* const asked_about = core.ledger.openOf(vm);
  const bool stopped_before = asked_about != nullptr && asked_about->stopped.has_value();
  Result<std::optional<DomainInfo>> found = co_await core.seams.hypervisor.lookUp(vm);
  // An unanswered question is asked again; after a reconnect everything is compared anyway.
  if (!found) co_return !core.seams.hypervisor.connected();
  if (leaveToFlow(core.ledger.openOf(vm), std::nullopt)) co_return true;
  if (momentOf(core, vm) != before) co_return false;
  std::optional<DomainInfo> info = std::move(*found);
  Attempt* const attempt = core.ledger.openOf(vm);
  const bool ours_there =
      attempt != nullptr && info && info->claim && info->claim->ref == attempt->ref();
  const bool published = attempt != nullptr && attempt->record.phase == ClaimPhase::Published;
  if (published && !ours_there) {
    core.hold(*attempt);
    co_await settleEnd(core, attempt->ref().attempt);
  } else if (published && attempt->stopped && !stopped_before) {
    co_return true;  // That news wants a look of its own.
  } else if (published && hasReplaced(*attempt, *info)) {
    core.hold(*attempt);
    co_await endForSure(core, attempt->ref().attempt);
    co_return true;
  } else if (published && attempt->stopped) {
    const bool stays = info->state == DomainState::Running || info->state == DomainState::Paused;
    if (stays) attempt->stopped.reset();  // It was said of an earlier domain.
  }
  if (!info) {
    if (core.foreign.contains(vm)) {
      co_await forgetForeign(core, vm);
      core.outbox.listDomains();
    }
    co_return true;
  }
  // What comes or goes and is nobody's work here is looked at again.
  const bool coming = info->state == DomainState::Starting && attempt == nullptr;
  const bool moving = coming || info->state == DomainState::Dying;
  co_await settleDomain(core, std::move(*info));
  co_return !moving;
}

asio::awaitable<void> lookAt(AgentCore& core, VmId vm) {
  Pacer pacer(core);
  while (core.inspect_again.erase(vm) > 0) {
    const bool settled = co_await lookOnce(core, vm);
    if (settled) continue;
    core.inspect_again.insert(vm);
    co_await pacer.pause();
  }
  core.inspecting.erase(vm);
  if (core.told_foreign.erase(vm) > 0) core.outbox.listDomains();
}

}  // namespace

void inspect(AgentCore& core, VmId vm) {
  if (core.stopping) return;
  core.inspect_again.insert(vm);
  // Before the first comparison it waits for that.
  if (!core.recovered_once || !core.inspecting.insert(vm).second) return;
  core.tasks.spawn("inspect " + vm.str(), [&core, vm] { return lookAt(core, vm); });
}

void onHypervisorEvent(AgentCore& core, const HypervisorEvent& event) {
  using Kind = HypervisorEvent::Kind;
  if (event.kind == Kind::ConnectionLost || event.kind == Kind::ConnectionRestored) {
    onConnection(core, event.kind == Kind::ConnectionRestored);
    return;
  }
  std::optional<StopReason> stopped;
  if (event.kind == Kind::Stopped) stopped = event.reason;
  if (stopped && core.foreign.contains(event.vm)) core.foreign_ends[event.vm] = *stopped;
  if (event.kind == Kind::Started) core.foreign_ends.erase(event.vm);
  Attempt* const attempt = core.ledger.openOf(event.vm);
  if (leaveToFlow(attempt, stopped)) return;
  if (attempt != nullptr && stopped) attempt->stopped = stopped;
  inspect(core, event.vm);
}

}  // namespace vms::hostagent
