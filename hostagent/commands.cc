#include "hostagent/commands.h"

#include <optional>
#include <string>
#include <utility>

#include "hostagent/core.h"
#include "hostagent/events.h"
#include "hostagent/flows/steps.h"
#include "hostagent/flows/stop.h"
#include "hostagent/wire.h"
#include "schema/frames.h"

namespace vms::hostagent {
namespace {

using Answer = proto::CommandAnswer;

/// Commands that wait for the hypervisor, and force-offs that wait for a slot.
constexpr std::size_t kCommandsMax = 1'024;
constexpr std::size_t kForceOffsMax = 4'096;

void answer(AgentCore& core, SessionNumber session, const proto::Command& command,
            Answer::Verdict verdict) {
  core.outbox.answer(session, makeAnswer(command, verdict));
}

void reject(AgentCore& core, SessionNumber session, const proto::Command& command,
            const Error& error) {
  core.outbox.answer(session, makeAnswer(command, Answer::REJECTED, &error));
}

Error busy(const Attempt& attempt) {
  return Error(ErrorClass::Busy, "another operation on " + attempt.record.name + " is under way");
}

/// The attempt is over: its results, then ABSENT, in this order.
void answerGone(AgentCore& core, SessionNumber session, const proto::Command& command,
                const Attempt& attempt) {
  if (!attempt.durable || attempt.durable->phase != ClaimPhase::Gone) {
    answer(core, session, command, Answer::INDETERMINATE);
    return;
  }
  for (const proto::Outcome::Kind kind : resultsOf(*attempt.durable)) {
    core.outbox.answer(session, makeOutcome(attempt, kind, core.seams.clock.now()));
  }
  answer(core, session, command, Answer::ABSENT);
}

/// ABSENT for an attempt that this host does not know: only after its epoch is durably spent (S1),
/// and only when no domain of it can be here.
asio::awaitable<void> answerUnknown(AgentCore& core, SessionNumber session, AttemptRef ref,
                                    proto::Command command) {
  if (core.readiness() != AgentReadiness::Ready) {
    answer(core, session, command, Answer::INDETERMINATE);
    co_return;
  }
  const bool held = core.seams.hypervisor.mayHoldLostCall(ref);
  const Result<std::optional<DomainInfo>> found = co_await core.seams.hypervisor.lookUp(ref.vm);
  if (held || core.ledger.find(ref.attempt) != nullptr || !found || !core.recovered) {
    answer(core, session, command, Answer::INDETERMINATE);
    co_return;
  }
  const bool here = found->has_value() && (*found)->claim && (*found)->claim->ref == ref;
  if (here && (*found)->claim->host == core.options.host) {
    // A domain that nobody journaled: it is settled first, then the engine asks again. A guest
    // whose epoch is spent is foreign, and not absent before somebody has ended it.
    inspect(core, ref.vm);
    answer(core, session, command, Answer::INDETERMINATE);
    co_return;
  }
  const Epoch floor = core.ledger.floorOf(ref.vm);
  core.ledger.spend(ref.vm, ref.epoch);
  const Result<void> flushed = co_await core.ledger.flush();
  if (!flushed) {
    reject(core, session, command, flushed.error());
    co_return;
  }
  proto::Frame gone = makeAnswer(command, Answer::ABSENT);
  // A journal that has kept an earlier epoch of the VM would have kept this one, had it been
  // claimed.
  const bool may_be_lost = floor == Epoch{} || floor >= ref.epoch;
  if (may_be_lost && !command.name().empty()) {
    const StopReason reason = co_await core.seams.hypervisor.whyEnded(ref.vm, command.name());
    if (reason != StopReason::Unwatched) {
      gone.mutable_command_answer()->set_stop_reason(std::string(nameOf(reason)));
    }
  }
  core.outbox.answer(session, std::move(gone));
}

asio::awaitable<void> cancel(AgentCore& core, SessionNumber session, proto::Command command,
                             AttemptId id) {
  Attempt* attempt = core.ledger.find(id);
  if (!attempt->open()) {
    answerGone(core, session, command, *attempt);
    co_return;
  }
  if (attempt->record.running_at || attempt->resuming) {
    answer(core, session, command, Answer::TOO_LATE);
    core.outbox.reportAsked(id);
    co_return;
  }
  if (!attempt->busy && attempt->record.phase == ClaimPhase::Claimed) {
    core.create_lane.withdraw(id);
    core.hold(*attempt);
    Error why(ErrorClass::Cancelled, attempt->record.name + " was cancelled");
    co_await discard(core, *attempt, std::move(why));
    answer(core, session, command, Answer::DONE);
    core.release(*attempt);
    co_return;
  }
  const bool first = !std::exchange(attempt->record.cancel_wished, true);
  if (first) core.ledger.changed(*attempt);
  const Result<void> flushed = co_await core.ledger.flush();
  attempt = core.ledger.find(id);
  if (!flushed && attempt != nullptr && attempt->open() && first) {
    attempt->record.cancel_wished = false;
    core.ledger.changed(*attempt);
    reject(core, session, command, flushed.error());
    co_return;
  }
  answer(core, session, command, Answer::DONE);
}

asio::awaitable<void> probe(AgentCore& core, SessionNumber session, proto::Command command,
                            AttemptId id) {
  Attempt* attempt = core.ledger.find(id);
  if (!attempt->open()) {
    answerGone(core, session, command, *attempt);
    co_return;
  }
  // What is published and idle is looked at; everything else is known by its flow.
  if (attempt->record.phase == ClaimPhase::Published && !attempt->busy) {
    if (core.readiness() != AgentReadiness::Ready) {
      answer(core, session, command, Answer::INDETERMINATE);
      co_return;
    }
    const AttemptRef ref = attempt->ref();
    const Result<std::optional<DomainInfo>> found = co_await core.seams.hypervisor.lookUp(ref.vm);
    attempt = core.ledger.find(id);
    const bool here = found && found->has_value() && (*found)->claim && (*found)->claim->ref == ref;
    if (attempt == nullptr || !attempt->open() || !here) {
      inspect(core, ref.vm);
      answer(core, session, command, Answer::INDETERMINATE);
      co_return;
    }
  }
  const bool told = attempt->durable.has_value();
  answer(core, session, command, told ? Answer::PRESENT : Answer::INDETERMINATE);
  core.outbox.reportAsked(id);
}

/// SHUTDOWN or FORCE_OFF: the wish is durable before anything is done, so that the reason of the
/// end is known whatever happens (S20). Empty: go on.
asio::awaitable<std::optional<Error>> wishStop(AgentCore& core, Attempt& attempt,
                                               StopReason reason) {
  std::string before = std::exchange(attempt.record.stop_reason, std::string(nameOf(reason)));
  core.ledger.changed(attempt);
  const Result<void> flushed = co_await core.ledger.flush();
  if (flushed) co_return std::nullopt;
  attempt.record.stop_reason = std::move(before);
  core.ledger.changed(attempt);
  co_return flushed.error();
}

asio::awaitable<void> forceOff(AgentCore& core, SessionNumber session, proto::Command command,
                               AttemptId id) {
  Attempt& attempt = *core.ledger.find(id);
  if (core.destroy_lane.queued() >= kForceOffsMax) {
    const Error full(ErrorClass::RateLimited, std::to_string(kForceOffsMax) +
                                                  " force-offs wait on host " + core.options.host +
                                                  "; try again later");
    reject(core, session, command, full);
    co_return;
  }
  core.hold(attempt);
  const std::optional<Error> failed = co_await wishStop(core, attempt, StopReason::Destroyed);
  if (failed) {
    reject(core, session, command, *failed);
    core.release(attempt);
    co_return;
  }
  answer(core, session, command, Answer::DONE);
  core.destroy_lane.push(LaneJob{id, 0, attempt.record.memory});
  core.pumpDestroys();
}

/// SHUTDOWN and RESUME: one call, then the answer.
asio::awaitable<void> callOnce(AgentCore& core, SessionNumber session, proto::Command command,
                               AttemptId id) {
  Attempt& attempt = *core.ledger.find(id);
  const AttemptRef ref = attempt.ref();
  const bool resume = command.kind() == proto::Command::RESUME;
  core.hold(attempt);
  if (!resume) {
    const std::optional<Error> failed = co_await wishStop(core, attempt, StopReason::Shutdown);
    if (failed) {
      reject(core, session, command, *failed);
      core.release(attempt);
      co_return;
    }
  }
  Result<void> called = boost::system::in_place_value;
  std::optional<Error> stop;
  if (resume) stop = mayNotRun(core, attempt);
  if (stop) {
    called = *stop;
  } else if (resume) {
    called = co_await core.seams.hypervisor.resume(ref);
  } else {
    called = co_await core.seams.hypervisor.shutDown(ref);
  }
  if (called) {
    if (resume && std::exchange(attempt.paused, false)) core.outbox.domainChanged(ref.vm);
    answer(core, session, command, Answer::DONE);
  } else if (called.error().error_class == ErrorClass::NotFound ||
             called.error().error_class == ErrorClass::UnknownOutcome) {
    attempt.attention = true;  // Looked at as soon as it is released.
    answer(core, session, command, Answer::INDETERMINATE);
  } else {
    reject(core, session, command, called.error());
  }
  core.release(attempt);
}

asio::awaitable<void> carryOut(AgentCore& core, SessionNumber session, proto::Command command,
                               AttemptRef ref) {
  const Attempt* const attempt = core.ledger.find(ref.attempt);
  if (attempt == nullptr) {
    co_await answerUnknown(core, session, ref, std::move(command));
    co_return;
  }
  if (attempt->ref() != ref) {
    const Error other(ErrorClass::Invalid,
                      "attempt " + ref.attempt.str() + " names another VM or epoch on this host");
    reject(core, session, command, other);
    co_return;
  }
  const proto::Command::Kind kind = command.kind();
  if (kind == proto::Command::CANCEL) {
    co_await cancel(core, session, std::move(command), ref.attempt);
  } else if (kind == proto::Command::PROBE) {
    co_await probe(core, session, std::move(command), ref.attempt);
  } else if (!attempt->open()) {
    answerGone(core, session, command, *attempt);
  } else if (attempt->busy || attempt->record.phase != ClaimPhase::Published) {
    reject(core, session, command, busy(*attempt));
  } else if (core.readiness() != AgentReadiness::Ready) {
    const Error away(ErrorClass::HostNotReady,
                     "host " + core.options.host + " is not ready: " + core.notReadyReason());
    reject(core, session, command, away);
  } else if (kind == proto::Command::FORCE_OFF) {
    co_await forceOff(core, session, std::move(command), ref.attempt);
  } else {
    co_await callOnce(core, session, std::move(command), ref.attempt);
  }
}

asio::awaitable<void> runCommand(AgentCore& core, SessionNumber session, proto::Command command,
                                 AttemptRef ref) {
  // Whoever asked may be gone by now, and another engine may have asked for the contrary (S12).
  if (core.outbox.session() == session) {
    co_await carryOut(core, session, std::move(command), ref);
  }
  --core.commands_running;
}

}  // namespace

asio::awaitable<Result<void>> takeCommand(AgentCore& core, SessionNumber session,
                                          proto::Command command) {
  const std::optional<AttemptRef> ref = refFromProto(command.ref());
  if (!ref)
    co_return Error(ErrorClass::Invalid, "malformed command: no valid attempt, VM or epoch");
  if (!proto::Command::Kind_IsValid(command.kind()) ||
      command.kind() == proto::Command::KIND_UNSPECIFIED) {
    const Error unknown(ErrorClass::Invalid,
                        "host " + core.options.host + " does not know command " +
                            std::to_string(command.kind()) + "; upgrade its agent");
    reject(core, session, command, unknown);
    co_return boost::system::in_place_value;
  }
  if (core.commands_running >= kCommandsMax) {
    const Error full(ErrorClass::RateLimited, std::to_string(kCommandsMax) +
                                                  " commands are under way on host " +
                                                  core.options.host + "; try again later");
    reject(core, session, command, full);
    co_return boost::system::in_place_value;
  }
  ++core.commands_running;
  const std::string name = "command " + proto::Command::Kind_Name(command.kind());
  core.tasks.spawn(name, [&core, session, command = std::move(command), at = *ref] {
    return runCommand(core, session, command, at);
  });
  co_return boost::system::in_place_value;
}

}  // namespace vms::hostagent
