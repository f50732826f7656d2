#include "hostagent/flows/stop.h"

#include <optional>
#include <string>
#include <utility>

#include "hostagent/core.h"
#include "hostagent/flows/steps.h"
#include "schema/base/check.h"
#include "schema/base/log.h"

namespace vms::hostagent {
namespace {

/// Whether the answer of a destroy means that no domain of ours is there.
bool isAbsent(const Result<void>& destroyed) {
  if (destroyed) return true;
  const ErrorClass error_class = destroyed.error().error_class;
  return error_class == ErrorClass::NotFound || error_class == ErrorClass::Superseded ||
         error_class == ErrorClass::Foreign;
}

asio::awaitable<void> destroyForSure(AgentCore& core, AttemptRef ref) {
  Pacer pacer(core);
  for (;;) {
    const Result<void> destroyed = co_await core.seams.hypervisor.destroy(ref);
    if (isAbsent(destroyed)) co_return;
    log::warn("destroying the domain of VM {}: {}; trying again", ref.vm.str(),
              destroyed.error().message);
    co_await pacer.pause();
  }
}

/// Ends a held attempt whose domain is gone: for the reason that was seen or that the hypervisor
/// knows, and for `unexplained` when nobody does.
asio::awaitable<void> settle(AgentCore& core, Attempt& attempt, StopReason unexplained) {
  std::optional<StopReason> reason = std::exchange(attempt.stopped, std::nullopt);
  if (!reason) {
    reason = co_await core.seams.hypervisor.whyEnded(attempt.ref().vm, attempt.record.name);
  }
  decideEnd(core, attempt, *reason == StopReason::Unwatched ? unexplained : *reason);
  co_await core.ledger.persist();
  tellEnd(core, attempt);
  core.release(attempt);
}

}  // namespace

asio::awaitable<void> settleEnd(AgentCore& core, AttemptId id) {
  Attempt* const attempt = core.ledger.find(id);
  VMS_CHECK(attempt != nullptr && attempt->busy, "an end holds its attempt");
  co_await settle(core, *attempt, StopReason::Unwatched);
}

asio::awaitable<void> endForSure(AgentCore& core, AttemptId id) {
  Attempt* const attempt = core.ledger.find(id);
  VMS_CHECK(attempt != nullptr && attempt->busy, "an end holds its attempt");
  const std::optional<StopReason> seen = attempt->stopped;
  co_await destroyForSure(core, attempt->ref());
  if (seen) attempt->stopped = seen;  // That was its end; what was destroyed came late.
  co_await settleEnd(core, id);
}

asio::awaitable<void> runForceOff(AgentCore& core, AttemptId id) {
  Attempt* const attempt = core.ledger.find(id);
  VMS_CHECK(attempt != nullptr && attempt->busy, "a force off holds its attempt");
  co_await destroyForSure(core, attempt->ref());
  core.destroy_lane.finish();
  core.pumpDestroys();
  // It may have ended, or left for another host, before it could be destroyed.
  co_await settle(core, *attempt, StopReason::Destroyed);
}

asio::awaitable<void> destroyLate(AgentCore& core, AttemptRef ref) {
  log::warn("VM {}: a domain of attempt {} (epoch {}) came late and has never run; destroying it",
            ref.vm.str(), ref.attempt.str(), ref.epoch.value);
  co_await destroyForSure(core, ref);
}

}  // namespace vms::hostagent
