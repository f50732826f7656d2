#include "runner/reconciler.h"

#include <algorithm>

#include "runner/dispatcher.h"
#include "runner/domain_report.h"
#include "runner/doubted_domains.h"
#include "runner/intake.h"
#include "runner/met_marks.h"
#include "runner/moved_domains.h"
#include "runner/run_book.h"
#include "runner/session_book.h"
#include "schema/base/log.h"
#include "schema/base/utf8.h"
#include "schema/frames.h"

namespace vms::runner {
namespace {

constexpr std::size_t kMaxWaitingText = 256;

/// Where the agent stands with one attempt, as the phases say it.
void applyPhases(EngineState& state, Attempt& attempt,
                 const google::protobuf::RepeatedPtrField<proto::PhaseAge>& phases,
                 const Now& now) {
  AttemptRecord& record = attempt.record;
  const auto note = [&](std::optional<WallTime>& at, std::uint64_t age_ms) {
    if (at) return;
    at = now.wall - milliseconds(static_cast<std::int64_t>(
                        std::min<std::uint64_t>(age_ms, std::uint64_t{1} << 40)));
    // A phase never precedes what led to it, whatever the clocks and queues in between did.
    if (record.sent_at && *at < *record.sent_at) at = record.sent_at;
    state.touchAttempt(record.ref.attempt);
  };
  // Phases of what has run before tell its history, not its state.
  const bool ran = record.running_at.has_value();
  bool staged = false, building = false;
  for (const proto::PhaseAge& phase : phases) {
    switch (phase.phase()) {
      case proto::CLAIMED:
        note(record.staged_at, phase.age_ms());
        staged = true;
        break;
      case proto::BUILD_STARTED:
        note(record.build_started_at, phase.age_ms());
        building = true;
        break;
      case proto::BUILT:
        note(record.built_at, phase.age_ms());
        building = true;
        break;
      case proto::RUNNING:
        note(record.running_at, phase.age_ms());
        building = true;
        break;
      default:
        break;
    }
  }
  attempt.news_at = now.mono;
  if (!record.accepted_at && (staged || building)) {
    record.accepted_at = now.wall;
    state.inventory.setPending(record.host, record.ref.attempt, true, false);
  }
  const AttemptState target = building ? AttemptState::Building : AttemptState::Staged;
  if (!ran && (staged || building) && record.state != target && mayFollow(record.state, target)) {
    state.setState(attempt, target);
    if (const auto run = state.runs.find(record.run); run != state.runs.end()) {
      touchWatchers(state, run->second);
    }
  }
}

bool hasStarted(const AttemptRecord& record) {
  return record.state == AttemptState::Running || record.state == AttemptState::Ready;
}

void failAttempt(EngineState& state, Attempt& attempt, AttemptState final_state, EndCause cause,
                 const Now& now) {
  const RunId run_id = attempt.record.run;
  const HostId host = attempt.record.host;
  closeAttempt(state, attempt, final_state, cause, now);
  const auto run = state.runs.find(run_id);
  if (run != state.runs.end()) afterFailure(state, run->second, host, std::move(cause), now);
}

/// The open attempt that `ref` names on this host; nothing for what is over or never was.
Attempt* findOpen(EngineState& state, const Host& host, const AttemptRef& ref) {
  Attempt* attempt = state.findAttempt(ref.attempt);
  if (attempt == nullptr || attempt->record.ref != ref || attempt->record.host != host.record.id ||
      isFinal(attempt->record.state)) {
    return nullptr;
  }
  return attempt;
}

EndCause causeFrom(const std::string& error_class, const std::string& message,
                   ErrorClass otherwise) {
  constexpr std::size_t kMaxMessage = 4'096;
  return {parseErrorClass(error_class).value_or(otherwise),
          std::string(cutUtf8(message, kMaxMessage))};
}

void onHeartbeat(EngineState& state, Host& host, const proto::AgentHeartbeat& beat) {
  SessionState& session = *host.session;
  const bool was = whyNotSchedulable(state, host).empty();
  if (session.readiness != beat.readiness()) host.look = true;
  session.readiness = beat.readiness();
  session.not_ready_reason = beat.not_ready_reason();
  session.hypervisor_age = milliseconds(
      static_cast<std::int64_t>(std::min<std::uint64_t>(beat.hypervisor_age_ms(), 1u << 30)));
  session.credits = beat.credits();
  session.lane_width = beat.lane_width();
  session.lane_busy = beat.lane_busy();
  session.queue_depth = beat.queue_depth();
  session.staged = beat.staged();
  session.running = beat.running();
  if (was != whyNotSchedulable(state, host).empty()) state.capacity_changed = true;
}

/// A host that already has something of the VM must settle that before the VM starts anywhere.
void noteRefusal(EngineState& state, Host& host, const AttemptRef& ref,
                 const std::string& error_class) {
  const auto known = parseErrorClass(error_class);
  if (known != ErrorClass::AlreadyRunning && known != ErrorClass::Foreign) return;
  host.refused.insert(ref.vm);
  markForeignVm(state, host, ref.vm);
}

/// The claim is durable on its host. A claim that has waited for this answer is just that; what
/// was known there already is told by the progress or the result that follows.
void noteAccepted(EngineState& state, Attempt& attempt, const Now& now) {
  AttemptRecord& record = attempt.record;
  if (!record.accepted_at) {
    record.accepted_at = now.wall;
    state.touchAttempt(record.ref.attempt);
  }
  if (!hasStarted(record)) {
    state.inventory.setPending(record.host, record.ref.attempt, true, false);
  }
  if (record.state != AttemptState::Sent) return;
  state.setState(attempt, AttemptState::Staged);
  const auto run = state.runs.find(record.run);
  if (run != state.runs.end()) touchWatchers(state, run->second);
}

void onAccepted(EngineState& state, Host& host, const proto::BulkAccepted& message,
                const Now& now) {
  const auto in_flight = std::find_if(
      host.in_flight.begin(), host.in_flight.end(),
      [&](const MessageInFlight& m) { return m.batch.uuid.toBytes() == message.batch(); });
  if (in_flight != host.in_flight.end()) {
    host.in_flight.erase(in_flight);
    host.window.accepted(now.mono);
  }
  host.session->credits = message.credits();
  for (const auto& item : message.items()) {
    const auto id = idFromBytes<AttemptId>(item.attempt());
    Attempt* attempt = id ? state.findAttempt(*id) : nullptr;
    if (attempt == nullptr || attempt->record.host != host.record.id ||
        isFinal(attempt->record.state)) {
      continue;
    }
    attempt->news_at = now.mono;
    if (item.error_class().empty()) {
      noteAccepted(state, *attempt, now);
    } else if (mayFollow(attempt->record.state, AttemptState::Refused)) {
      noteRefusal(state, host, attempt->record.ref, item.error_class());
      failAttempt(state, *attempt, AttemptState::Refused,
                  causeFrom(item.error_class(), item.error(), ErrorClass::HostRejected), now);
    }
  }
}

void acknowledge(EngineState& state, const Host& host, const proto::Outcome& outcome) {
  const SessionNumber session = host.session->number;
  const auto [place, first] =
      state.effects.acknowledgements.try_emplace(session, state.effects.frames.size());
  if (first) {
    proto::Frame frame;
    frame.mutable_acknowledge()->set_store_id(state.marks.store_id.uuid.toBytes());
    // The daemon fills in the commit that makes the outcomes durable.
    state.send(session, std::move(frame));
  }
  proto::Frame& frame = state.effects.frames[place->second].frame;
  proto::Acknowledge::Item* item = frame.mutable_acknowledge()->add_items();
  *item->mutable_ref() = outcome.ref();
  item->set_kind(outcome.kind());
}

/// The VM is up: a cancel has had its answer; a stop is still wanted.
void cancelCameTooLate(EngineState& state, Attempt& attempt) {
  if (!attempt.record.cancel_wished) return;
  attempt.record.cancel_wished = false;
  state.touchAttempt(attempt.record.ref.attempt);
  const auto run = state.runs.find(attempt.record.run);
  if (run == state.runs.end() || isFinal(run->second.record.state)) return;
  run->second.record.cancel_wished = false;
  state.touchRun(run->first);
}

/// What an agent says of an attempt that is not open here.
enum class Stranger { Exists, Over, Moved };

/// An agent speaks of an attempt that is not open here. If it is one of a VM that we know, that VM
/// exists there behind our back until the attempt has ended (S8), and elsewhere once it was moved.
Result<void> noteStranger(EngineState& state, Host& host, const AttemptRef& ref, Stranger what) {
  const bool over = what != Stranger::Exists;
  if (over && host.refused.erase(ref.vm) > 0) markForeignVm(state, host, ref.vm);
  if (const Attempt* known = state.findAttempt(ref.attempt)) {
    // What was closed by a person's word has its end still before it, if the host lists it.
    const bool alive =
        isFinal(known->record.state) && host.listed.contains(ref.attempt.uuid.toBytes());
    if (!over || !alive) return {};
  }
  const auto vm = state.vms.find(ref.vm);
  if (vm != state.vms.end() && vm->second.record.epoch < ref.epoch) {
    vm->second.record.epoch = ref.epoch;
    state.touchEpoch(ref.vm);
  }
  bool noted = true;
  if (what == Stranger::Moved) noted = noteMovedVm(state, host, ref.vm);
  if (over) {
    host.strangers.erase(ref.vm);
    forgetListed(state, host, ref);
  } else if (const auto told = host.strangers.find(ref.vm); told != host.strangers.end()) {
    told->second = host.session->number;
  } else if (host.strangers.size() < state.options.max_strangers) {
    host.strangers.emplace(ref.vm, host.session->number);
    markForeignVm(state, host, ref.vm);
  } else {
    noted = false;
  }
  if (noted) return {};
  // No database forgets so much in use: it is another one than this host has served.
  if (!state.marks.restored) suspectRestore(state, state.marks.term, state.marks.commit);
  return Error(ErrorClass::TooLarge,
               "the agent speaks of more VMs than this engine can keep in mind that it did not "
               "start there; nothing starts until that has ended and every host is confirmed");
}

void onStarted(EngineState& state, Attempt& attempt, const proto::Outcome& outcome,
               const Now& now) {
  applyPhases(state, attempt, outcome.phases(), now);
  if (!hasStarted(attempt.record)) attemptRuns(state, attempt, now);
  cancelCameTooLate(state, attempt);
  attempt.wish_heard = false;
  sendWishes(state, attempt);
}

Result<void> onStrangersOutcome(EngineState& state, Host& host, const AttemptRef& ref,
                                const proto::Outcome& outcome) {
  Stranger what = Stranger::Over;
  if (outcome.kind() == proto::Outcome::STARTED) what = Stranger::Exists;
  const bool ended = outcome.kind() == proto::Outcome::ENDED;
  if (ended && outcome.stop_reason() == AttemptRecord::kMovedAway) what = Stranger::Moved;
  if (auto noted = noteStranger(state, host, ref, what); !noted) return noted;
  // Over already, or forgotten with its history: the agent need not keep it. After a restore an
  // outcome that is not known here may be news, so the agent keeps it; a move is noted for good.
  if (!state.marks.restored || what == Stranger::Moved ||
      state.findAttempt(ref.attempt) != nullptr) {
    acknowledge(state, host, outcome);
  }
  return {};
}

Result<void> onOutcome(EngineState& state, Host& host, const proto::Outcome& outcome,
                       const Now& now) {
  const std::optional<AttemptRef> ref = refFromProto(outcome.ref());
  if (!ref) return Error(ErrorClass::Invalid, "an outcome names no attempt");
  Attempt* attempt = findOpen(state, host, *ref);
  if (attempt == nullptr) return onStrangersOutcome(state, host, *ref, outcome);
  if (attempt->record.movedAway()) {  // Told again: the host has had its last word on it.
    acknowledge(state, host, outcome);
    return {};
  }
  switch (outcome.kind()) {
    case proto::Outcome::STARTED:
      onStarted(state, *attempt, outcome, now);
      break;
    case proto::Outcome::FAILED: {
      applyPhases(state, *attempt, outcome.phases(), now);
      const EndCause cause =
          causeFrom(outcome.error_class(), outcome.error(), ErrorClass::HostRejected);
      noteRefusal(state, host, attempt->record.ref, outcome.error_class());
      // FAILED of what had started can only be an end that nobody watched.
      failAttempt(state, *attempt,
                  hasStarted(attempt->record) ? AttemptState::Ended : AttemptState::Failed, cause,
                  now);
      break;
    }
    case proto::Outcome::CANCELLED:
      // Who cancelled it may have been forgotten by a restored database; here it is still wanted.
      failAttempt(state, *attempt,
                  hasStarted(attempt->record) ? AttemptState::Ended : AttemptState::Failed,
                  attempt->record.cancel_wished
                      ? EndCause{ErrorClass::Cancelled, "cancelled"}
                      : EndCause{ErrorClass::HostNotReady,
                                 "host " + host.record.id +
                                     " undid it for a cancellation that this database does not "
                                     "know"},
                  now);
      break;
    case proto::Outcome::ENDED: {
      applyPhases(state, *attempt, outcome.phases(), now);
      if (!hasStarted(attempt->record)) attemptRuns(state, *attempt, now);
      attempt->record.stop_reason = cutUtf8(outcome.stop_reason(), 64);
      attempt->record.stopped_at =
          now.wall - milliseconds(static_cast<std::int64_t>(
                         std::min<std::uint64_t>(outcome.ended_age_ms(), std::uint64_t{1} << 40)));
      if (attempt->record.movedAway()) {
        noteMovedAway(state, *attempt, now);
        break;
      }
      failAttempt(state, *attempt, AttemptState::Ended,
                  causeFrom(outcome.error_class(), outcome.error(), ErrorClass::IntendedStop), now);
      break;
    }
    default:
      return {};
  }
  acknowledge(state, host, outcome);
  return {};
}

void onAbsent(EngineState& state, Host& host, Attempt& attempt, const std::string& stop_reason,
              const Now& now) {
  if (attempt.record.movedAway()) return;   // It runs elsewhere.
  if (!host.speaks_for_hypervisor) return;  // Its word about what is gone is worth nothing (S4).
  if (stop_reason == AttemptRecord::kMovedAway) {
    attempt.record.stop_reason = stop_reason;
    noteMovedAway(state, attempt, now);
    return;
  }
  if (attempt.record.boot_id != host.record.boot_id) {
    endWithBoot(state, host, attempt, now);
    return;
  }
  attempt.record.proof = Proof::ReportedGone;
  if (attempt.record.running_at) {
    attempt.record.stop_reason = "unwatched";
    failAttempt(state, attempt, AttemptState::Ended,
                {ErrorClass::Crashed,
                 "the domain was gone when host " + host.record.id + " looked; nobody saw why"},
                now);
    return;
  }
  EndCause cause{ErrorClass::HostNotReady, "the command did not reach host " + host.record.id};
  AttemptState final_state = mayFollow(attempt.record.state, AttemptState::Refused)
                                 ? AttemptState::Refused
                                 : AttemptState::Failed;
  if (attempt.record.accepted_at) {
    // What became of it has been forgotten there: it may have run for all we know.
    cause.message =
        "host " + host.record.id + " accepted it and no longer knows of it; was its journal lost?";
    final_state = AttemptState::Ended;
  }
  if (missedDeadline(state, attempt.record, now)) cause = tooLateFor(attempt.record.vm_name);
  if (attempt.record.cancel_wished) cause = EndCause{ErrorClass::Cancelled, "cancelled"};
  failAttempt(state, attempt, final_state, std::move(cause), now);
}

/// The command that says what is wished of the attempt now.
proto::Command::Kind wishOf(const AttemptRecord& record) {
  if (record.cancel_wished) return proto::Command::CANCEL;
  switch (record.stop_wished) {
    case AttemptRecord::StopWish::None:
      return proto::Command::KIND_UNSPECIFIED;
    case AttemptRecord::StopWish::Shutdown:
      return proto::Command::SHUTDOWN;
    case AttemptRecord::StopWish::ForceOff:
      return proto::Command::FORCE_OFF;
  }
  return proto::Command::KIND_UNSPECIFIED;
}

Result<void> onAnswer(EngineState& state, Host& host, const proto::CommandAnswer& answer,
                      const Now& now) {
  const std::optional<AttemptRef> ref = refFromProto(answer.ref());
  if (!ref) return {};
  Attempt* attempt = findOpen(state, host, *ref);
  if (attempt == nullptr) {
    if (settleDoubt(state, host, *ref, answer)) return {};
    return tooManyMoved();
  }
  attempt->news_at = now.mono;
  switch (answer.verdict()) {
    case proto::CommandAnswer::DONE:
      // An answer to an earlier wish does not settle the one that replaced it.
      attempt->wish_heard = answer.kind() == wishOf(attempt->record);
      break;
    case proto::CommandAnswer::TOO_LATE:
      cancelCameTooLate(state, *attempt);
      sendWishes(state, *attempt);
      break;
    case proto::CommandAnswer::ABSENT:
      onAbsent(state, host, *attempt, answer.stop_reason(), now);
      break;
    case proto::CommandAnswer::REJECTED:
      attempt->wish_heard = false;
      log::warn("host {}: {} of VM '{}' was not carried out: {}", host.record.id,
                proto::Command::Kind_Name(answer.kind()), attempt->record.vm_name, answer.error());
      break;
    default:
      break;
  }
  return {};
}

/// Asks the host about one attempt in the way that its state calls for.
void ask(EngineState& state, Host& host, Attempt& attempt, const Now& now) {
  AttemptRecord& record = attempt.record;
  if (record.cancel_wished ||
      (hasStarted(record) && record.stop_wished != AttemptRecord::StopWish::None)) {
    sendWishes(state, attempt);
    return;
  }
  attempt.asked_at = now.mono;
  const bool may_deliver = !state.marks.restored && record.boot_id == host.record.boot_id &&
                           state.foreignHostOf(record.ref.vm) == nullptr &&
                           whyNotSchedulable(state, host).empty();
  if (!record.accepted_at && record.batch && may_deliver) {
    // It may never have arrived: the same attempt again is harmless, and answers the question.
    state.send(host.session->number, bulkCreate(state, *record.batch, {record.ref.attempt}));
    return;
  }
  proto::Frame frame;
  proto::Command* command = frame.mutable_command();
  refToProto(record.ref, command->mutable_ref());
  command->set_kind(proto::Command::PROBE);
  command->set_name(record.vm_name);
  state.send(host.session->number, std::move(frame));
}

bool needsAsking(const EngineState& state, const Attempt& attempt, const Now& now) {
  const AttemptRecord& record = attempt.record;
  if (record.state == AttemptState::Placed || record.movedAway()) return false;
  const bool started = hasStarted(record);
  const bool wish =
      (record.cancel_wished || (started && record.stop_wished != AttemptRecord::StopWish::None)) &&
      !attempt.wish_heard;
  const bool stale = !started && now.mono - attempt.news_at >= state.options.progress_timeout;
  const bool unanswered =
      !record.accepted_at && !started && now.mono - attempt.news_at >= state.options.ask_again;
  if (!wish && !stale && !unanswered && record.state != AttemptState::Unknown) return false;
  return !attempt.asked_at || now.mono - *attempt.asked_at >= state.options.ask_again;
}

void loseHost(EngineState& state, Host& host) {
  host.lost = true;
  state.capacity_changed = true;
  for (const AttemptId& id : host.open) {
    Attempt& attempt = state.attempt(id);
    if (!mayFollow(attempt.record.state, AttemptState::Unknown)) continue;
    state.setState(attempt, AttemptState::Unknown);
    if (const auto run = state.runs.find(attempt.record.run); run != state.runs.end()) {
      touchWatchers(state, run->second);
    }
  }
}

}  // namespace

Result<void> onFrame(EngineState& state, SessionNumber number, const proto::Frame& frame,
                     const Now& now) {
  const auto found = state.sessions.find(number);
  if (found == state.sessions.end() || frame.session() != number ||
      frame.term() != state.marks.term.value) {
    return {};
  }
  Host& host = state.hosts.find(found->second)->second;
  SessionState& session = *host.session;
  if (now.mono - session.heard_at >= state.options.suspect_after) state.capacity_changed = true;
  session.heard_at = session.last_word = now.mono;
  switch (frame.body_case()) {
    case proto::Frame::kAgentHeartbeat:
      onHeartbeat(state, host, frame.agent_heartbeat());
      return {};
    case proto::Frame::kBulkAccepted:
      onAccepted(state, host, frame.bulk_accepted(), now);
      return {};
    case proto::Frame::kProgress: {
      const auto ref = refFromProto(frame.progress().ref());
      if (!ref) return Error(ErrorClass::Invalid, "a progress names no attempt");
      Attempt* attempt = findOpen(state, host, *ref);
      if (attempt == nullptr) {
        return noteStranger(state, host, *ref, Stranger::Exists);
      } else if (!hasStarted(attempt->record)) {
        applyPhases(state, *attempt, frame.progress().phases(), now);
        const std::string waiting(cutUtf8(frame.progress().waiting_for(), kMaxWaitingText));
        if (waiting != attempt->record.error) {
          attempt->record.error = waiting;
          state.touchAttempt(ref->attempt);
        }
      }
      return {};
    }
    case proto::Frame::kOutcome:
      return onOutcome(state, host, frame.outcome(), now);
    case proto::Frame::kCommandAnswer:
      return onAnswer(state, host, frame.command_answer(), now);
    case proto::Frame::kDomainList:
      return onDomainList(state, host, frame.domain_list(), now);
    default:
      return Error(ErrorClass::Invalid, "a frame without a body that an agent sends");
  }
}

void watchHosts(EngineState& state, const Now& now) {
  // A gap in our own watching is our pause, not the hosts' silence.
  const Duration gap = now.mono - state.watched_at;
  const Duration usual = std::max(2 * state.options.heartbeat, state.options.host_timeout / 2);
  const Duration pause = gap > usual ? gap : Duration{};
  state.watched_at = now.mono;
  const bool beat = now.mono >= state.heartbeat_due;
  if (beat) state.heartbeat_due = now.mono + state.options.heartbeat;
  const bool persist = now.mono >= state.last_seen_due;
  if (persist) state.last_seen_due = now.mono + state.options.last_seen_interval;

  for (auto& [id, host] : state.hosts) {
    if (!host.session) {
      host.silent_since = host.silent_since + pause;
      if (!host.lost && now.mono - host.silent_since >= state.options.host_timeout) {
        loseHost(state, host);
      }
      continue;
    }
    SessionState& session = *host.session;
    session.heard_at = std::min(now.mono, session.heard_at + pause);
    const Duration silence = now.mono - session.heard_at;
    if (silence >= state.options.host_timeout) {
      if (!host.lost) loseHost(state, host);
      state.effects.close.push_back(session.number);
      continue;
    }
    if (persist) {
      host.record.last_seen = now.wall - (now.mono - session.last_word);
      state.touchHost(id);
    }
    if (beat) {
      state.send(session.number, heartbeatFrame(state));
    }
    if (session.readiness != proto::READY || !session.listed || !(beat || host.look)) continue;
    host.look = false;
    askDoubted(state, host, now);
    for (auto at = host.unsettled.begin(); at != host.unsettled.end();) {
      Attempt& attempt = state.attempt(*at);
      if (needsAsking(state, attempt, now)) ask(state, host, attempt, now);
      at = mayNeedAsking(attempt.record) ? std::next(at) : host.unsettled.erase(at);
    }
  }
}

void restoreAttempts(EngineState& state, const Now& now) {
  for (auto& [id, attempt] : state.attempts) {
    AttemptRecord& record = attempt.record;
    if (isFinal(record.state)) continue;
    attempt.news_at = now.mono;
    state.vm(record.ref.vm).attempt = id;
    state.inventory.reserve(record.host, id, {record.memory, record.vcpus});
    if (Host* host = state.findHost(record.host)) {
      host->open.insert(id);
      if (mayNeedAsking(record)) host->unsettled.insert(id);
    }
    const bool started = hasStarted(record);
    state.inventory.setPending(record.host, id, !started, !started && !record.accepted_at);
    // PLACED, too: nobody says that this database is not an older copy, made before it was sent.
    if (!started && mayFollow(record.state, AttemptState::Unknown)) {
      state.setState(attempt, AttemptState::Unknown);
    }
    const auto run = state.runs.find(record.run);
    if (record.state == AttemptState::Running && run != state.runs.end() &&
        run->second.record.state == RunState::Running) {
      armGate(state, attempt, now);
    }
  }
}

}  // namespace vms::runner
