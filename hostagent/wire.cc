#include "hostagent/wire.h"

#include <algorithm>

#include "schema/base/check.h"
#include "schema/frames.h"

namespace vms::hostagent {
namespace {

std::uint64_t ageMs(TimePoint now, TimePoint at) {
  return static_cast<std::uint64_t>(toMs(std::max(Duration{}, now - at)));
}

const std::optional<TimePoint>& stampOf(const Attempt& attempt, PhaseStamp stamp) {
  return attempt.stamps[static_cast<std::size_t>(stamp)];
}

/// Only phases that the durable record has; their times come from the interval clock.
template <class Phases>
void writePhases(const Attempt& attempt, TimePoint now, Phases& phases) {
  const auto add = [&](const std::optional<WallTime>& durable, PhaseStamp stamp,
                       proto::Phase phase) {
    const std::optional<TimePoint>& at = stampOf(attempt, stamp);
    if (!durable || !at) return;
    proto::PhaseAge& age = *phases.Add();
    age.set_phase(phase);
    age.set_age_ms(ageMs(now, *at));
  };
  const ClaimRecord& record = *attempt.durable;
  add(record.claimed_at, PhaseStamp::Claimed, proto::CLAIMED);
  add(record.build_started_at, PhaseStamp::BuildStarted, proto::BUILD_STARTED);
  add(record.built_at, PhaseStamp::Built, proto::BUILT);
  add(record.running_at, PhaseStamp::Running, proto::RUNNING);
}

}  // namespace

void writeMarks(const JournalMarks& marks, proto::StoreMarks& message) {
  message.set_store_id(marks.store_id);
  message.set_term(marks.term);
  message.set_start(marks.start.uuid.toBytes());
  message.set_commit(marks.commit);
}

void writeIdentity(const HypervisorIdentity& identity, proto::HypervisorIdentity& message) {
  message.set_uri(identity.uri);
  message.set_host_uuid(identity.host_uuid);
  message.set_local(identity.local);
}

proto::Frame makeProgress(const Attempt& attempt, TimePoint now) {
  VMS_CHECK(attempt.durable.has_value(), "only what is durable is told");
  proto::Frame frame;
  proto::Progress& progress = *frame.mutable_progress();
  progress.set_waiting_for(attempt.waiting_for);
  refToProto(attempt.ref(), progress.mutable_ref());
  writePhases(attempt, now, *progress.mutable_phases());
  return frame;
}

std::vector<proto::Outcome::Kind> resultsOf(const ClaimRecord& durable) {
  std::vector<proto::Outcome::Kind> kinds;
  const bool gone = durable.phase == ClaimPhase::Gone;
  if (gone && !durable.ended_after_start) {
    kinds.push_back(durable.error_class.empty() ? proto::Outcome::CANCELLED
                                                : proto::Outcome::FAILED);
    return kinds;
  }
  if (durable.running_at && durable.phase >= ClaimPhase::Published) {
    kinds.push_back(proto::Outcome::STARTED);
  }
  if (gone) kinds.push_back(proto::Outcome::ENDED);
  return kinds;
}

bool isAcknowledged(const ClaimRecord& durable, proto::Outcome::Kind kind) {
  return kind == proto::Outcome::STARTED ? durable.started_acked || durable.end_acked
                                         : durable.end_acked;
}

proto::Frame makeOutcome(const Attempt& attempt, proto::Outcome::Kind kind, TimePoint now) {
  VMS_CHECK(attempt.durable.has_value(), "only what is durable is told");
  const ClaimRecord& record = *attempt.durable;
  proto::Frame frame;
  proto::Outcome& outcome = *frame.mutable_outcome();
  refToProto(attempt.ref(), outcome.mutable_ref());
  outcome.set_kind(kind);
  writePhases(attempt, now, *outcome.mutable_phases());
  if (kind == proto::Outcome::STARTED) return frame;
  outcome.set_error_class(record.error_class);
  outcome.set_error(record.error);
  outcome.set_stop_reason(record.stop_reason);
  const std::optional<TimePoint>& ended = stampOf(attempt, PhaseStamp::Ended);
  if (ended) outcome.set_ended_age_ms(ageMs(now, *ended));
  return frame;
}

proto::Frame makeAnswer(const proto::Command& command, proto::CommandAnswer::Verdict verdict,
                        const Error* error) {
  proto::Frame frame;
  proto::CommandAnswer& answer = *frame.mutable_command_answer();
  *answer.mutable_ref() = command.ref();
  answer.set_kind(command.kind());
  answer.set_number(command.number());
  answer.set_verdict(verdict);
  if (error != nullptr) {
    answer.set_error_class(std::string(nameOf(error->error_class)));
    answer.set_error(error->message);
  }
  return frame;
}

void writeOwnDomain(const ClaimRecord& record, bool paused, proto::Domain& message) {
  refToProto(record.claim.ref, message.mutable_ref());
  message.set_name(record.name);
  message.set_memory(record.memory);
  message.set_vcpus(record.vcpus);
  message.set_paused(paused);
}

void writeForeignDomain(const DomainInfo& info, proto::Domain& message) {
  message.mutable_ref()->set_vm(info.vm.uuid.toBytes());
  message.set_name(info.name);
  message.set_memory(info.memory);
  message.set_vcpus(info.vcpus);
  message.set_foreign(true);
  message.set_dying(info.state == DomainState::Dying);
  message.set_paused(info.state == DomainState::Paused);
}

}  // namespace vms::hostagent
