#include "schema/frames.h"
#include "tests/sim/checkers.h"

/// Rules about what the engine and the agents say to each other: nothing is said before it is
/// durable, and nothing that is not true.
namespace vms::sim {

using hostagent::ClaimPhase;
using hostagent::ClaimRecord;
using runner::AttemptRecord;

void Checkers::frameSent(const WireEvent& event) {
  proto::Frame frame;
  const WatchedHost* const host = findHost(std::string(event.link));
  if (host == nullptr) return;
  if (!frame.ParseFromArray(event.bytes.data(), static_cast<int>(event.bytes.size()))) {
    fail("malformed_frame",
         "a frame on the link of " + std::string(event.link) + " does not parse");
    return;
  }
  if (event.direction == Direction::ToAgent) {
    engineFrame(*host, frame);
  } else {
    agentFrame(*host, frame);
  }
}

void Checkers::engineFrame(const WatchedHost& host, const proto::Frame& frame) {
  const runner::Marks& marks = store_.contents().marks;
  // A term may be raised between a turn and its frames (S8); those may inform, never command.
  const bool commands = frame.has_bulk_create() || frame.has_command();
  if (!frame.has_refused() &&
      (frame.term() > marks.term.value || (commands && frame.term() < marks.term.value))) {
    fail("wrong_term", "the engine sent a frame of term " + std::to_string(frame.term()) +
                           " in term " + std::to_string(marks.term.value));
  }
  if (frame.has_engine_heartbeat() && frame.engine_heartbeat().commit() > marks.commit.value) {
    fail("revealed_before_durable", "a heartbeat names a commit that is not durable");
  }
  engineSpeaks(frame);
  if (frame.has_welcome()) {
    welcomed(host);
    HostReport fresh;
    fresh.session = frame.session();
    fresh.ready = true;  // So says its hello, until a heartbeat says otherwise.
    reports_[host.name] = std::move(fresh);
    const proto::StoreMarks& met = hellos_[host.host->id()];
    met_term_ = std::max(met_term_, met.term());
    met_commit_ = std::max(met_commit_, met.commit());
    if (!met.store_id().empty()) met_starts_[met.term()].insert(met.start());
  }
  if (frame.has_bulk_create()) bulkCreateSent(host, frame.bulk_create());
  if (frame.has_command()) commandSent(host, frame.command());
  if (frame.has_acknowledge()) acknowledged(frame.acknowledge());
}

void Checkers::bulkCreateSent(const WatchedHost& host, const proto::BulkCreate& bulk) {
  world_.tell("engine -> " + host.host->id() + ": bulk create of " +
              std::to_string(bulk.items_size()));
  for (const proto::CreateItem& item : bulk.items()) {
    const auto id = idFromBytes<AttemptId>(item.attempt());
    const AttemptRecord* const row = id ? attempt(*id) : nullptr;
    const std::string what = "a create of " + item.name() + " epoch " +
                             std::to_string(item.epoch()) + " for " + host.host->id();
    if (row == nullptr || row->host != host.name || row->ref.epoch.value != item.epoch()) {
      fail("sent_before_durable", what + " left before its attempt was durable");
    } else if (row->state == AttemptState::Placed || isFinal(row->state)) {
      fail("sent_before_durable",
           what + " left while its attempt was " + std::string(vms::nameOf(row->state)));
    }
  }
  if (bulk_create_observer_) bulk_create_observer_(host.host->id());
}

void Checkers::commandSent(const WatchedHost& host, const proto::Command& command) {
  const auto ref = refFromProto(command.ref());
  const AttemptRecord* const row = ref ? attempt(ref->attempt) : nullptr;
  world_.detail("engine -> " + host.host->id() + ": " + proto::Command::Kind_Name(command.kind()) +
                " " + (ref ? describe(*ref) : std::string("?")));
  // A command may end what an agent reports and this store does not know (a restored one).
  if (row == nullptr) return;
  bool wished = true;
  if (command.kind() == proto::Command::CANCEL) {
    const auto run = store_.contents().runs.find(row->run);
    wished =
        row->cancel_wished || (run != store_.contents().runs.end() && run->second.cancel_wished);
  }
  if (command.kind() == proto::Command::SHUTDOWN) {
    wished = row->stop_wished != AttemptRecord::StopWish::None;
  }
  if (!wished) {
    fail("revealed_before_durable", proto::Command::Kind_Name(command.kind()) + " of " +
                                        describe(*ref) + " left before the wish was durable");
  }
}

void Checkers::acknowledged(const proto::Acknowledge& acknowledge) {
  for (const proto::Acknowledge::Item& item : acknowledge.items()) {
    const auto ref = refFromProto(item.ref());
    const AttemptRecord* const row = ref ? attempt(ref->attempt) : nullptr;
    if (row == nullptr) continue;
    const bool started = item.kind() == proto::Outcome::STARTED;
    const bool recorded =
        isFinal(row->state) || (started ? row->running_at.has_value() : row->movedAway());
    if (!recorded) {
      fail("acknowledged_before_durable", proto::Outcome::Kind_Name(item.kind()) + " of " +
                                              describe(*ref) +
                                              " was acknowledged while its attempt is stored as " +
                                              std::string(vms::nameOf(row->state)));
    }
  }
}

void Checkers::agentFrame(const WatchedHost& host, const proto::Frame& frame) {
  const std::string& from = host.host->id();
  agentSpeaks(host, frame);
  if (frame.has_hello()) hellos_[from] = frame.hello().marks();
  if (frame.has_outcome()) outcomeSent(host, frame.outcome());
  if (frame.has_command_answer()) {
    const proto::CommandAnswer& answer = frame.command_answer();
    const auto ref = refFromProto(answer.ref());
    world_.detail(from + " -> engine: " + proto::Command::Kind_Name(answer.kind()) + " " +
                  proto::CommandAnswer::Verdict_Name(answer.verdict()) + " " +
                  (ref ? describe(*ref) : std::string("?")));
    if (ref && answer.verdict() == proto::CommandAnswer::ABSENT) {
      epochSaidSpent(host, *ref, "answered absent");
    }
  }
  if (frame.has_bulk_accepted()) {
    for (const proto::BulkAccepted::Item& item : frame.bulk_accepted().items()) {
      const auto id = idFromBytes<AttemptId>(item.attempt());
      const AttemptRecord* const row = id ? attempt(*id) : nullptr;
      if (item.error_class().empty()) {
        if (row != nullptr && host.journal->floorOf(row->ref.vm) < row->ref.epoch) {
          fail("said_before_durable",
               from + " accepted " + describe(row->ref) + " before its claim was durable");
        }
        continue;
      }
      world_.tell(from + " -> engine: refused " +
                  (row != nullptr ? describe(row->ref) : std::string("?")) + ": " +
                  item.error_class());
      if (row != nullptr) epochSaidSpent(host, row->ref, "refused");
    }
  }
  if (frame.has_progress()) {
    const auto ref = refFromProto(frame.progress().ref());
    if (ref && host.journal->find(ref->attempt) == nullptr &&
        host.journal->floorOf(ref->vm) < ref->epoch) {
      fail("said_before_durable",
           from + " reported progress of " + describe(*ref) + " before its claim was durable");
    }
  }
  if (frame.has_domain_list()) {
    world_.detail(from + " -> engine: lists " + std::to_string(frame.domain_list().domains_size()) +
                  (frame.domain_list().complete() ? " domains, all" : " domains that changed"));
    for (const proto::Domain& domain : frame.domain_list().domains()) {
      const auto ref = refFromProto(domain.ref());
      if (domain.foreign() || !ref) continue;
      const ClaimRecord* const claim = host.journal->find(ref->attempt);
      if (claim == nullptr || claim->phase == ClaimPhase::Claimed ||
          claim->phase == ClaimPhase::Building) {
        fail("half_built_visible",
             from + " lists " + describe(*ref) + ", which its journal has not published");
      }
      // Once it was complete, what is starting now is a late create of it, of which the host will
      // hear next.
      if (launched_.count(ref->attempt) > 0) continue;
      const auto real = host.host->domains().find(ref->vm);
      if (real != host.host->domains().end() && real->second.info.claim &&
          real->second.info.claim->ref == *ref &&
          real->second.info.state == hostagent::DomainState::Starting) {
        fail("half_built_visible", from + " lists " + describe(*ref) + ", which is still starting");
      }
    }
  }
}

void Checkers::epochSaidSpent(const WatchedHost& host, const AttemptRef& ref,
                              const std::string& saying) {
  const std::string what = host.host->id() + " " + saying + ": " + describe(ref);
  if (host.journal->floorOf(ref.vm) < ref.epoch) {
    fail("said_before_durable", what + ", before that epoch was journaled as spent");
  }
  // Without a journal it cannot know that this is not its hypervisor; the engine does (S4).
  if (*host.elsewhere && host.journal->wipes() > 0) return;
  const auto real = host.host->domains().find(ref.vm);
  // Of what had started, a second create by an earlier life of the agent may be left; it comes
  // paused, finds its claim spent, and is destroyed (S2). Of what never started none may be. An
  // agent whose journal was lost knows of no create at all.
  const bool may_come_late = hadStarted(host, ref) || host.journal->wipes() > 0;
  // What was moved away may be moved back, and is foreign then.
  const bool may_have_executed = may_come_late && moved_.count(ref.attempt) > 0;
  if (real != host.host->domains().end() && real->second.info.claim &&
      real->second.info.claim->ref == ref &&
      (real->second.has_executed ? !may_have_executed : !may_come_late)) {
    fail("left_behind", what + ", while the domain exists");
  }
  if (!may_come_late && host.host->holdsCreate(ref.attempt)) {
    fail("late_create", what + ", while the hypervisor may still carry out its create");
  }
}

bool Checkers::hadStarted(const WatchedHost& host, const AttemptRef& ref) const {
  if (resumed_.count(ref.attempt) > 0) return true;
  // One that was to stay paused has started without executing.
  const ClaimRecord* const claim = host.journal->find(ref.attempt);
  return claim != nullptr && claim->ended_after_start;
}

void Checkers::outcomeSent(const WatchedHost& host, const proto::Outcome& outcome) {
  const auto ref = refFromProto(outcome.ref());
  const std::string kind = proto::Outcome::Kind_Name(outcome.kind());
  if (!ref) {
    fail("malformed_frame", "an outcome without a whole reference");
    return;
  }
  world_.detail(host.host->id() + " -> engine: " + kind + " " + describe(*ref) + " " +
                outcome.error_class());
  const ClaimRecord* const claim = host.journal->find(ref->attempt);
  if (outcome.kind() == proto::Outcome::STARTED) {
    if (claim == nullptr || claim->phase == ClaimPhase::Claimed ||
        claim->phase == ClaimPhase::Building) {
      fail("said_before_durable",
           host.host->id() + " says that " + describe(*ref) + " started before it was journaled");
    }
    const bool executes = claim != nullptr && !claim->claim.want_paused;
    // An adopted domain is never resumed: a guest that a person paused looks the same.
    const bool adopted = host.journal->wipes() > 0 && launched_.count(ref->attempt) > 0;
    if (!adopted && (executes ? resumed_ : launched_).count(ref->attempt) == 0) {
      fail("untrue_outcome", describe(*ref) + " is reported as started and never was");
    }
    return;
  }
  if (claim == nullptr || claim->phase != ClaimPhase::Gone) {
    fail("said_before_durable", host.host->id() + " reports " + kind + " of " + describe(*ref) +
                                    " before it was journaled as gone");
  }
  epochSaidSpent(host, *ref, "reported " + kind);
}

}  // namespace vms::sim
