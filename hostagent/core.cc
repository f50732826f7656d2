#include "hostagent/core.h"

#include <algorithm>
#include <utility>

#include "hostagent/events.h"
#include "hostagent/flows/create.h"
#include "hostagent/flows/stop.h"
#include "schema/base/check.h"

namespace vms::hostagent {
namespace {

AgentOptions complete(AgentOptions options) {
  VMS_CHECK(options.create_width >= 1 && options.destroy_width >= 1, "lanes need slots");
  if (options.intake == 0) options.intake = std::max<std::size_t>(256, 8 * options.create_width);
  return options;
}

std::string mintInstance(Rng& rng) {
  std::string raw;
  for (int half = 0; half < 2; ++half) {
    std::uint64_t draw = rng.next();
    for (int i = 0; i < 8; ++i, draw >>= 8U) raw.push_back(static_cast<char>(draw & 0xffU));
  }
  return raw;
}

}  // namespace

AgentCore::AgentCore(asio::any_io_executor executor_in, AgentSeams seams_in,
                     AgentOptions options_in)
    : executor(executor_in),
      seams(seams_in),
      options(complete(std::move(options_in))),
      instance(mintInstance(seams.rng)),
      ledger(seams.journal, seams.clock),
      create_lane(options.create_width),
      destroy_lane(options.destroy_width),
      outbox(*this, executor),
      tasks(executor),
      recover_wake(executor),
      stop_wake(executor),
      silence_allowed(options.engine_silence) {}

AgentReadiness AgentCore::readiness() const {
  if (stopping) return AgentReadiness::Stopping;
  if (!seams.hypervisor.connected() ||
      seams.hypervisor.lastAnswerAge() > options.hypervisor_timeout) {
    return AgentReadiness::HypervisorAway;
  }
  return recovered && refusals_waiting == 0 ? AgentReadiness::Ready : AgentReadiness::Recovering;
}

std::string AgentCore::notReadyReason() const {
  switch (readiness()) {
    case AgentReadiness::Ready:
      return {};
    case AgentReadiness::Stopping:
      return "the agent is stopping";
    case AgentReadiness::Recovering:
      if (refusals_waiting > 0) return "the journal is full; make room on its disk";
      return recover_reason.empty() ? "the agent is comparing its journal with the hypervisor"
                                    : recover_reason;
    case AgentReadiness::HypervisorAway:
      break;
  }
  std::string reason = seams.hypervisor.notReadyReason();
  if (!reason.empty()) return reason;
  return "the hypervisor has not answered for " +
         std::to_string(toMs(seams.hypervisor.lastAnswerAge()) / 1000) + " s";
}

std::size_t AgentCore::credits() const {
  const std::size_t queued = create_lane.queued() + claims_pending;
  return queued < options.intake ? options.intake - queued : 0;
}

void AgentCore::pumpCreates() {
  while (!stopping) {
    const std::optional<LaneJob> job = create_lane.start();
    if (!job) return;
    Attempt* const attempt = ledger.find(job->attempt);
    VMS_CHECK(attempt != nullptr && attempt->open(), "what waits for the lane is open");
    attempt->in_lane = true;
    startCreate(*attempt);
  }
}

void AgentCore::startCreate(Attempt& attempt) {
  hold(attempt);
  tasks.spawn("create " + attempt.ref().vm.str(),
              [this, id = attempt.ref().attempt] { return runCreate(*this, id); });
}

void AgentCore::pumpDestroys() {
  while (!stopping) {
    const std::optional<LaneJob> job = destroy_lane.start();
    if (!job) return;
    tasks.spawn("force off", [this, id = job->attempt] { return runForceOff(*this, id); });
  }
}

void AgentCore::leaveCreateLane(Attempt& attempt) {
  if (!std::exchange(attempt.in_lane, false)) return;
  create_lane.finish();
  pumpCreates();
}

void AgentCore::hold(Attempt& attempt) {
  VMS_CHECK(!attempt.busy, "one operation per VM at a time");
  attempt.busy = true;
}

void AgentCore::release(Attempt& attempt) {
  leaveCreateLane(attempt);
  attempt.busy = false;
  // Also of an attempt that is over: the domain may be somebody else's.
  if (std::exchange(attempt.attention, false)) inspect(*this, attempt.ref().vm);
}

}  // namespace vms::hostagent
