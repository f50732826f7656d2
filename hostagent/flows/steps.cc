#include "hostagent/flows/steps.h"

#include <algorithm>
#include <string>
#include <utility>

#include "hostagent/core.h"
#include "schema/base/log.h"

namespace vms::hostagent {
namespace {

/// So often a create is begun again after it was lost without a trace.
constexpr int kCreateTries = 3;
constexpr int kResumeTries = 3;

bool isOf(const std::optional<DomainInfo>& domain, const AttemptRef& ref) {
  return domain && domain->claim && domain->claim->ref == ref;
}

constexpr Duration kStartingTooLong = seconds(30);

bool isSettled(DomainState state) {
  return state == DomainState::Paused || state == DomainState::Running;
}

Error notOurs(const AgentCore& core, const Attempt& attempt, const DomainInfo& info) {
  if (info.claim && info.claim->host == core.options.host) {
    return Error(ErrorClass::Superseded, "a late domain of an earlier attempt of " +
                                             attempt.record.name + " is not gone yet");
  }
  return Error(ErrorClass::Foreign, "a domain with the UUID of " + attempt.record.name +
                                        " runs outside our control as '" + info.name +
                                        "'; end it, or its managed run, by hand");
}

/// Tells people, through the engine, why an attempt does not get on.
void tellWaiting(AgentCore& core, Attempt& attempt, std::string why) {
  if (attempt.waiting_for == why) return;
  if (!why.empty()) log::warn("{}: {}", attempt.record.name, why);
  attempt.waiting_for = std::move(why);
  core.outbox.report(attempt.ref().attempt);
}

/// After a call that was lost or a domain that is not complete yet: the domain once it is, an error
/// that ends the attempt, or nothing when it is absent and no lost call can still bring it.
asio::awaitable<Result<std::optional<DomainInfo>>> awaitVerdict(AgentCore& core, Attempt& attempt) {
  const AttemptRef ref = attempt.ref();
  const TimePoint began = core.seams.clock.now();
  Pacer pacer(core);
  for (;;) {
    co_await pacer.pause();
    if (std::optional<Error> stop = mayNotRun(core, attempt)) co_return std::move(*stop);
    // Asked in this order: absence proves something only if nothing could bring it any more before.
    const bool held = core.seams.hypervisor.mayHoldLostCall(ref);
    Result<std::optional<DomainInfo>> found = co_await core.seams.hypervisor.lookUp(ref.vm);
    if (!found) continue;
    if (!found->has_value()) {
      if (!held) co_return std::move(*found);
      continue;
    }
    if (!isOf(*found, ref)) co_return notOurs(core, attempt, **found);
    if (isSettled((*found)->state)) {
      tellWaiting(core, attempt, {});
      co_return std::move(*found);
    }
    if (core.seams.clock.now() - began >= kStartingTooLong) {
      tellWaiting(core, attempt,
                  "the hypervisor has listed the domain as starting for " +
                      formatDuration(kStartingTooLong) +
                      "; if its daemon was killed meanwhile, restart it without the status file of "
                      "this domain");
    }
  }
}

void moveStaging(AgentCore& core, const Attempt& attempt, StagingState to) {
  const StagingEntry* const entry = core.staging.find(attempt.ref().attempt);
  if (entry != nullptr && mayFollow(entry->state, to)) {
    core.staging.advance(attempt.ref().attempt, to);
  }
}

}  // namespace

Pacer::Pacer(AgentCore& core) : core_(core), next_(core.options.retry_min) {}

void Pacer::reset() { next_ = core_.options.retry_min; }

asio::awaitable<void> Pacer::pause() {
  const Duration delay = core_.seams.rng.between(next_ / 2, next_);
  next_ = std::min(next_ * 2, core_.options.retry_max);
  co_await core_.seams.clock.sleepFor(delay);
}

std::optional<Error> mayNotRun(const AgentCore& core, const Attempt& attempt) {
  if (attempt.record.cancel_wished) {
    return Error(ErrorClass::Cancelled, attempt.record.name + " was cancelled");
  }
  const Epoch floor = core.ledger.floorOf(attempt.ref().vm);
  if (floor > attempt.ref().epoch) {
    return Error(ErrorClass::Superseded, attempt.record.name + ": epoch " +
                                             std::to_string(attempt.ref().epoch.value) +
                                             " was superseded by " + std::to_string(floor.value));
  }
  return std::nullopt;
}

void decideBuild(AgentCore& core, Attempt& attempt) {
  attempt.record.phase = ClaimPhase::Building;
  core.ledger.stamp(attempt, PhaseStamp::BuildStarted);
  core.ledger.changed(attempt);
}

asio::awaitable<void> beginBuild(AgentCore& core, Attempt& attempt) {
  moveStaging(core, attempt, StagingState::Preparing);
  if (attempt.record.phase == ClaimPhase::Claimed) {
    decideBuild(core, attempt);
    co_await core.ledger.persist();
  }
  moveStaging(core, attempt, StagingState::Building);
  core.outbox.report(attempt.ref().attempt);
}

asio::awaitable<Result<DomainInfo>> launch(AgentCore& core, Attempt& attempt) {
  const ClaimRecord& record = attempt.record;
  const TimePoint began = core.seams.clock.now();
  Pacer pacer(core);
  for (int lost = 0;;) {
    if (std::optional<Error> stop = mayNotRun(core, attempt)) co_return std::move(*stop);
    DomainSpec spec{attempt.ref().vm, record.name, record.xml, record.memory, record.vcpus};
    Claim claim = record.claim;
    const bool touched_before = std::exchange(attempt.touched, true);
    Result<DomainInfo> created =
        co_await core.seams.hypervisor.createPaused(std::move(spec), std::move(claim));
    if (created && isSettled(created->state)) co_return created;
    if (!created && created.error().error_class == ErrorClass::HostNotReady) {
      attempt.touched = touched_before;
      const bool waited = core.seams.clock.now() - began >= core.options.hypervisor_timeout;
      if (waited && !attempt.touched) co_return created;
      if (waited) core.leaveCreateLane(attempt);
      co_await pacer.pause();
      continue;
    }
    if (!created && created.error().error_class != ErrorClass::UnknownOutcome) co_return created;
    if (!created) {
      log::warn("create of {}: {}; asking the hypervisor until it knows", record.name,
                created.error().message);
      core.leaveCreateLane(attempt);
    }
    Result<std::optional<DomainInfo>> verdict = co_await awaitVerdict(core, attempt);
    if (!verdict) co_return verdict.error();
    if (verdict->has_value()) co_return std::move(**verdict);
    if (++lost >= kCreateTries) {
      co_return Error(ErrorClass::HostRejected,
                      "the create of " + record.name + " was lost " + std::to_string(lost) +
                          " times without a trace; look into the hypervisor's log");
    }
  }
}

asio::awaitable<void> publish(AgentCore& core, Attempt& attempt) {
  attempt.record.phase = ClaimPhase::Published;
  attempt.record.xml.clear();
  attempt.paused = true;
  attempt.stopped.reset();
  if (attempt.record.claim.want_paused) core.ledger.stamp(attempt, PhaseStamp::Running);
  core.ledger.changed(attempt);
  co_await core.ledger.persist();
  moveStaging(core, attempt, StagingState::Published);
  core.outbox.report(attempt.ref().attempt);
  core.outbox.domainChanged(attempt.ref().vm);
}

asio::awaitable<Result<void>> letRun(AgentCore& core, Attempt& attempt) {
  if (attempt.record.claim.want_paused) co_return boost::system::in_place_value;
  const AttemptRef ref = attempt.ref();
  Pacer pacer(core);
  for (int rejected = 0;;) {
    std::optional<Error> stop = mayNotRun(core, attempt);
    // What may execute already is too late to cancel (S22); only a newer epoch still ends it.
    const bool too_late = stop && stop->error_class == ErrorClass::Cancelled && attempt.resuming;
    if (stop && !too_late) co_return std::move(*stop);
    const bool may_run_already = std::exchange(attempt.resuming, true);
    Result<void> resumed = co_await core.seams.hypervisor.resume(ref);
    if (resumed) break;
    const ErrorClass error_class = resumed.error().error_class;
    if (error_class == ErrorClass::HostNotReady) {
      attempt.resuming = may_run_already;
    } else if (error_class != ErrorClass::UnknownOutcome) {
      const bool final = error_class == ErrorClass::NotFound ||
                         error_class == ErrorClass::Superseded ||
                         error_class == ErrorClass::Foreign;
      attempt.resuming = may_run_already;
      if (final || ++rejected >= kResumeTries) co_return resumed;
    }
    co_await pacer.pause();
  }
  attempt.paused = false;
  core.ledger.stamp(attempt, PhaseStamp::Running);
  core.ledger.changed(attempt);
  co_await core.ledger.persist();
  core.outbox.report(ref.attempt);
  core.outbox.domainChanged(ref.vm);
  co_return boost::system::in_place_value;
}

asio::awaitable<void> discard(AgentCore& core, Attempt& attempt, Error why) {
  const AttemptRef ref = attempt.ref();
  Hypervisor& hypervisor = core.seams.hypervisor;
  Pacer pacer(core);
  for (bool gone = !attempt.touched; !gone;) {
    const bool held = hypervisor.mayHoldLostCall(ref);
    const Result<void> destroyed = co_await hypervisor.destroy(ref);
    const ErrorClass error_class = destroyed ? ErrorClass::NotFound : destroyed.error().error_class;
    // Under another claim it is not ours to undo, and ours is not there.
    const bool absent = error_class == ErrorClass::NotFound ||
                        error_class == ErrorClass::Superseded || error_class == ErrorClass::Foreign;
    gone = absent && !held;
    if (gone) break;
    if (!absent) log::warn("undoing {}: {}", attempt.record.name, destroyed.error().message);
    core.leaveCreateLane(attempt);
    co_await pacer.pause();
  }
  ClaimRecord& record = attempt.record;
  const bool cancelled = why.error_class == ErrorClass::Cancelled;
  record.phase = ClaimPhase::Gone;
  record.xml.clear();
  record.error_class = cancelled ? std::string() : std::string(nameOf(why.error_class));
  record.error = cancelled ? std::string() : std::move(why.message);
  record.stop_reason.clear();
  core.ledger.stamp(attempt, PhaseStamp::Ended);
  core.ledger.changed(attempt);
  co_await core.ledger.persist();
  tellEnd(core, attempt);
  // What was in the way may be gone by now, or may be a late domain of ours: it is looked at.
  const bool foreign = why.error_class == ErrorClass::Foreign;
  if (foreign) core.told_foreign.insert(ref.vm);
  if (foreign || why.error_class == ErrorClass::Superseded) attempt.attention = true;
}

void decideEnd(AgentCore& core, Attempt& attempt, StopReason reason, std::string_view note) {
  ClaimRecord& record = attempt.record;
  // What was asked for explains an end that nothing else explains.
  const std::string wished = std::exchange(record.stop_reason, std::string());
  bool intended = false;
  std::string text(nameOf(reason));
  switch (reason) {
    case StopReason::Shutdown:
    case StopReason::Saved:
    case StopReason::Migrated:
    case StopReason::Destroyed:
      intended = true;
      break;
    case StopReason::Unwatched:
      intended = !wished.empty();
      if (intended) text = wished;
      break;
    case StopReason::Crashed:
    case StopReason::Failed:
      break;
  }
  record.phase = ClaimPhase::Gone;
  record.xml.clear();
  record.ended_after_start = true;
  record.error_class =
      std::string(nameOf(intended ? ErrorClass::IntendedStop : ErrorClass::Crashed));
  record.error = record.name + (note.empty() ? " ended: " + text : ": " + std::string(note));
  record.stop_reason = std::move(text);
  core.ledger.stamp(attempt, PhaseStamp::Ended);
  core.ledger.changed(attempt);
}

void tellEnd(AgentCore& core, const Attempt& attempt) {
  moveStaging(core, attempt, StagingState::Discarded);
  core.outbox.report(attempt.ref().attempt);
}

}  // namespace vms::hostagent
