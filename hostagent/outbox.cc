#include "hostagent/outbox.h"

#include <algorithm>
#include <utility>

#include "hostagent/core.h"
#include "hostagent/wire.h"
#include "schema/base/log.h"

namespace vms::hostagent {
namespace {

proto::Readiness wireReadiness(AgentReadiness readiness) {
  switch (readiness) {
    case AgentReadiness::Recovering:
      return proto::RECOVERING;
    case AgentReadiness::Ready:
      return proto::READY;
    case AgentReadiness::HypervisorAway:
      return proto::HYPERVISOR_AWAY;
    case AgentReadiness::Stopping:
      break;
  }
  return proto::STOPPING;
}

std::uint32_t count(std::size_t value) { return static_cast<std::uint32_t>(value); }

}  // namespace

void Outbox::attach(std::shared_ptr<Connection> connection, SessionNumber session, Term term) {
  detach();
  connection_ = std::move(connection);
  session_ = session;
  term_ = term;
  heartbeat_due_ = true;
  for (const AttemptId& id : core_.ledger.ids()) {
    Attempt& attempt = *core_.ledger.find(id);
    attempt.sent_at.reset();
    // What runs and is acknowledged is in the list; everything else is told one by one.
    if (attempt.open() && !(attempt.durable && attempt.durable->started_acked)) enqueue(id);
  }
  reportUnacknowledged();
  listDomains();
}

void Outbox::detach() {
  connection_.reset();
  session_ = 0;
  heartbeat_due_ = false;
  list_due_ = false;
  answers_.clear();
  reports_.clear();
  reports_known_.clear();
  asked_.clear();
  progress_.clear();
  changed_.clear();
  changes_due_ = false;
  follow_.clear();
}

void Outbox::answer(SessionNumber session, proto::Frame frame) {
  if (!connection_ || session != session_) return;
  if (answers_.size() >= kAnswersMax) {
    log::warn("session {} ends: the engine does not read its answers", session_);
    connection_->close();
    return;
  }
  answers_.push_back(std::move(frame));
  wake_.notify();
}

void Outbox::report(AttemptId id) {
  if (!connection_) return;
  const Attempt* const attempt = core_.ledger.find(id);
  if (attempt == nullptr || !attempt->durable) return;
  if (!resultsOf(*attempt->durable).empty()) {
    enqueue(id);
  } else if (!reports_known_.contains(id)) {
    progress_.insert(id);
    gather();
  }
}

void Outbox::reportAsked(AttemptId attempt) {
  if (!connection_) return;
  asked_.insert(attempt);
  enqueue(attempt);
}

void Outbox::enqueue(AttemptId attempt) {
  progress_.erase(attempt);
  if (!reports_known_.insert(attempt).second) return;
  reports_.push_back(attempt);
  wake_.notify();
}

void Outbox::gather() {
  if (std::exchange(gathering_, true)) return;
  core_.tasks.spawn("gather reports", [this] { return endGathering(); });
}

asio::awaitable<void> Outbox::endGathering() {
  co_await core_.seams.clock.sleepFor(kGather);
  gathering_ = false;
  for (const AttemptId& id : std::exchange(progress_, {})) enqueue(id);
  changes_due_ = !changed_.empty();
  if (changes_due_) wake_.notify();
}

void Outbox::reportUnacknowledged() {
  if (!connection_) return;
  const TimePoint now = core_.seams.clock.now();
  for (const auto& [id, attempt] : core_.ledger.attempts()) {
    if (!attempt.durable || attempt.durable->end_acked) continue;
    if (attempt.sent_at && now - *attempt.sent_at < core_.options.resend) continue;
    for (const proto::Outcome::Kind kind : resultsOf(*attempt.durable)) {
      if (!isAcknowledged(*attempt.durable, kind)) report(id);
    }
  }
}

void Outbox::heartbeat() {
  heartbeat_due_ = connection_ != nullptr;
  wake_.notify();
}

void Outbox::domainChanged(VmId vm) {
  if (!connection_ || list_due_) return;
  changed_.insert(vm);
  gather();
}

void Outbox::foreignChanged(VmId vm) {
  if (!connection_ || list_due_) return;
  changed_.insert(vm);
  changes_due_ = true;
  wake_.notify();
}

void Outbox::listDomains() {
  if (!connection_) return;
  list_due_ = true;
  changed_.clear();
  changes_due_ = false;
  wake_.notify();
}

bool Outbox::listable() const { return core_.recovered && (list_due_ || changes_due_); }

bool Outbox::idle() const noexcept {
  return !connection_ ||
         (!sending_ && !heartbeat_due_ && answers_.empty() && reports_.empty() && follow_.empty());
}

std::optional<proto::Frame> Outbox::next() {
  if (std::exchange(heartbeat_due_, false)) return makeHeartbeat();
  if (!answers_.empty()) {
    proto::Frame frame = std::move(answers_.front());
    answers_.pop_front();
    return frame;
  }
  if (std::optional<proto::Frame> frame = nextReport()) return frame;
  if (!listable()) return std::nullopt;
  return makeList(std::exchange(list_due_, false));
}

std::optional<proto::Frame> Outbox::nextReport() {
  for (;;) {
    if (!follow_.empty()) {
      proto::Frame frame = std::move(follow_.front());
      follow_.pop_front();
      return frame;
    }
    if (reports_.empty()) return std::nullopt;
    const AttemptId id = reports_.front();
    reports_.pop_front();
    reports_known_.erase(id);
    const bool asked = asked_.erase(id) > 0;
    Attempt* const attempt = core_.ledger.find(id);
    if (attempt == nullptr || !attempt->durable) continue;
    const TimePoint now = core_.seams.clock.now();
    const std::vector<proto::Outcome::Kind> results = resultsOf(*attempt->durable);
    if (results.empty()) {
      if (core_.seams.faults.strikes("agent.lose_progress")) continue;
      return makeProgress(*attempt, now);
    }
    for (const proto::Outcome::Kind kind : results) {
      if (!asked && isAcknowledged(*attempt->durable, kind)) continue;
      follow_.push_back(makeOutcome(*attempt, kind, now));
    }
    attempt->sent_at = now;
  }
}

proto::Frame Outbox::makeHeartbeat() const {
  proto::Frame frame;
  proto::AgentHeartbeat& beat = *frame.mutable_agent_heartbeat();
  const Duration age = core_.seams.hypervisor.lastAnswerAge();
  beat.set_readiness(wireReadiness(core_.readiness()));
  beat.set_hypervisor_age_ms(static_cast<std::uint64_t>(std::max<std::int64_t>(0, toMs(age))));
  beat.set_credits(count(core_.credits()));
  beat.set_lane_width(count(core_.create_lane.width()));
  beat.set_lane_busy(count(core_.create_lane.busy()));
  beat.set_queue_depth(count(core_.create_lane.queued()));
  beat.set_staged(count(core_.staging.stagedCount()));
  beat.set_running(count(core_.staging.publishedCount()));
  beat.set_not_ready_reason(core_.notReadyReason());
  return frame;
}

proto::Frame Outbox::makeList(bool complete) {
  proto::Frame frame;
  proto::DomainList& list = *frame.mutable_domain_list();
  list.set_complete(complete);
  list.set_sequence(++sequence_);
  if (core_.identity) writeIdentity(*core_.identity, *list.mutable_hypervisor());
  const std::set<VmId> changed = std::exchange(changed_, {});
  changes_due_ = false;
  const auto add = [&list](const Attempt& attempt) {
    if (!attempt.durable || attempt.durable->phase != ClaimPhase::Published) return;
    writeOwnDomain(*attempt.durable, attempt.paused, *list.add_domains());
  };
  if (complete) {
    for (const auto& [id, attempt] : core_.ledger.attempts()) add(attempt);
    for (const auto& [vm, info] : core_.foreign) writeForeignDomain(info, *list.add_domains());
    for (const auto& [vm, info] : core_.moved_on) writeForeignDomain(info, *list.add_moved_on());
    return frame;
  }
  for (const VmId& vm : changed) {
    if (const Attempt* const open = core_.ledger.openOf(vm)) add(*open);
    const auto foreign = core_.foreign.find(vm);
    if (foreign != core_.foreign.end()) writeForeignDomain(foreign->second, *list.add_domains());
  }
  return frame;
}

asio::awaitable<void> Outbox::run() {
  for (;;) {
    std::optional<proto::Frame> frame;
    if (connection_) frame = next();
    if (!frame) {
      co_await wake_.wait();
      continue;
    }
    frame->set_session(session_);
    frame->set_term(term_.value);
    const std::shared_ptr<Connection> connection = connection_;
    std::string message = frame->SerializeAsString();
    sending_ = true;
    const Result<void> sent = co_await connection->send(std::move(message));
    sending_ = false;
    if (sent) continue;
    if (sent.error().error_class == ErrorClass::TooLarge) {
      log::error("a message to the engine was not sent: {}", sent.error().message);
      continue;
    }
    connection->close();
    if (connection_ == connection) detach();
  }
}

}  // namespace vms::hostagent
