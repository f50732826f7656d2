#include "hostagent/agent.h"

#include <array>
#include <utility>

#include "hostagent/core.h"
#include "hostagent/events.h"
#include "hostagent/flows/recover.h"
#include "hostagent/session.h"
#include "hostagent/wire.h"
#include "schema/base/log.h"

namespace vms::hostagent {
namespace {

constexpr Duration kGoodbyeStep = milliseconds(20);

/// What the journal holds takes its place in the staging area.
void stage(AgentCore& core) {
  for (const auto& [id, attempt] : core.ledger.attempts()) {
    const ClaimRecord& record = attempt.record;
    StagingState state = StagingState::Claimed;
    switch (record.phase) {
      case ClaimPhase::Claimed:
        break;
      case ClaimPhase::Building:
        state = StagingState::Building;
        break;
      case ClaimPhase::Published:
        state = StagingState::Published;
        break;
      case ClaimPhase::Gone:
        continue;
    }
    core.staging.reserve(attempt.ref(), record.name, record.memory, record.vcpus, state);
  }
}

/// Everything that happens by itself: heartbeats, results again, silence, the hypervisor's state.
asio::awaitable<void> runTicks(AgentCore& core) {
  TimePoint resend = core.seams.clock.now() + core.options.resend;
  for (;;) {
    co_await core.seams.clock.sleepFor(core.options.heartbeat);
    checkEngineSilence(core);
    if (!core.seams.hypervisor.connected()) core.recovered = false;
    core.recover_wake.notify();
    core.outbox.heartbeat();
    if (core.seams.clock.now() < resend) continue;
    resend = core.seams.clock.now() + core.options.resend;
    core.outbox.reportUnacknowledged();
  }
}

/// Makes durable what nobody waits for: acknowledgements, marks, what was pruned.
asio::awaitable<void> runMaintenance(AgentCore& core) {
  for (;;) {
    co_await core.seams.clock.sleepFor(core.options.heartbeat);
    if (!core.ledger.dirty()) continue;
    const Result<void> flushed = co_await core.ledger.flush();
    if (!flushed) log::warn("the journal is full: {}", flushed.error().message);
  }
}

/// The last heartbeat says STOPPING; then no coroutine is left.
asio::awaitable<void> windDown(AgentCore& core) {
  const TimePoint until = core.seams.clock.now() + core.options.goodbye;
  core.outbox.heartbeat();
  while (!core.outbox.idle() && core.seams.clock.now() < until) {
    co_await core.seams.clock.sleepFor(kGoodbyeStep);
  }
  if (core.connection) core.connection->close();
  core.tasks.cancel();
  co_await core.seams.hypervisor.stop();
  co_await core.tasks.join();
  const Result<void> flushed = co_await core.ledger.flush();
  if (!flushed) log::warn("the journal is full: {}", flushed.error().message);
}

}  // namespace

std::string_view nameOf(AgentReadiness readiness) noexcept {
  constexpr std::array<std::string_view, 4> kNames = {"recovering", "ready", "hypervisor_away",
                                                      "stopping"};
  return kNames[static_cast<std::size_t>(readiness)];
}

Agent::Agent(asio::any_io_executor executor, AgentSeams seams, AgentOptions options)
    : core_(std::make_unique<AgentCore>(std::move(executor), seams, std::move(options))) {}

Agent::~Agent() = default;

asio::awaitable<void> Agent::run() {
  AgentCore& core = *core_;
  const Result<void> loaded = core.ledger.load();
  if (!loaded) {
    core.failure = withContext(loaded.error(), "the journal cannot be read");
    co_return;
  }
  stage(core);
  core.seams.hypervisor.start([&core](HypervisorEvent event) { onHypervisorEvent(core, event); });
  core.tasks.spawn("sender", [&core] { return core.outbox.run(); });
  core.tasks.spawn("ticks", [&core] { return runTicks(core); });
  core.tasks.spawn("maintenance", [&core] { return runMaintenance(core); });
  core.tasks.spawn("recover", [&core] { return runRecover(core); });
  core.tasks.spawn("sessions", [&core] { return runSessions(core); });
  while (!core.stopping) co_await core.stop_wake.wait();
  co_await windDown(core);
}

void Agent::stop() {
  core_->stopping = true;
  core_->stop_wake.notify();
}

const std::optional<Error>& Agent::failure() const { return core_->failure; }

AgentStatus Agent::status() const {
  const AgentCore& core = *core_;
  AgentStatus status;
  status.readiness = core.readiness();
  status.not_ready_reason = core.notReadyReason();
  status.session = core.outbox.session();
  status.term = Term{core.ledger.marks().term};
  status.credits = core.credits();
  status.lane_width = core.create_lane.width();
  status.lane_busy = core.create_lane.busy();
  status.queue_depth = core.create_lane.queued();
  status.staged = core.staging.stagedCount();
  status.running = core.staging.publishedCount();
  for (const auto& [id, attempt] : core.ledger.attempts()) {
    if (!attempt.durable) continue;
    for (const proto::Outcome::Kind kind : resultsOf(*attempt.durable)) {
      if (!isAcknowledged(*attempt.durable, kind)) ++status.unacknowledged;
    }
  }
  return status;
}

std::vector<Claim> Agent::published() const {
  std::vector<Claim> claims;
  for (const auto& [id, attempt] : core_->ledger.attempts()) {
    if (!attempt.durable || attempt.durable->phase != ClaimPhase::Published) continue;
    claims.push_back(attempt.durable->claim);
  }
  return claims;
}

}  // namespace vms::hostagent
