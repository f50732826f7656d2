#include "hostagent/flows/create.h"

#include <optional>
#include <string>
#include <utility>

#include "hostagent/core.h"
#include "hostagent/flows/steps.h"
#include "hostagent/flows/stop.h"
#include "schema/base/check.h"
#include "schema/base/log.h"

namespace vms::hostagent {
namespace {

/// Claimed or Building → launched; or why not.
asio::awaitable<std::optional<Error>> build(AgentCore& core, Attempt& attempt) {
  if (std::optional<Error> stop = mayNotRun(core, attempt)) co_return stop;
  co_await beginBuild(core, attempt);
  Result<DomainInfo> launched = co_await launch(core, attempt);
  core.leaveCreateLane(attempt);
  if (!launched) co_return launched.error();
  core.ledger.stamp(attempt, PhaseStamp::Built);
  core.staging.advance(attempt.ref().attempt, StagingState::Launched);
  co_return mayNotRun(core, attempt);
}

}  // namespace

asio::awaitable<void> runCreate(AgentCore& core, AttemptId id) {
  Attempt* const attempt = core.ledger.find(id);
  VMS_CHECK(attempt != nullptr && attempt->busy, "a create holds its attempt");
  std::optional<Error> stop = co_await build(core, *attempt);
  if (stop) {
    log::info("create of {} ends: {}: {}", attempt->record.name, nameOf(stop->error_class),
              stop->message);
    co_await discard(core, *attempt, std::move(*stop));
    core.release(*attempt);
    co_return;
  }
  co_await publish(core, *attempt);
  co_await finishStart(core, id);
}

asio::awaitable<void> finishStart(AgentCore& core, AttemptId id) {
  Attempt* const attempt = core.ledger.find(id);
  VMS_CHECK(attempt != nullptr && attempt->busy, "a start holds its attempt");
  const Result<void> started = co_await letRun(core, *attempt);
  if (!started) {
    Error why = started.error();
    const bool vanished = why.error_class == ErrorClass::NotFound;
    const bool replaced =
        why.error_class == ErrorClass::Superseded || why.error_class == ErrorClass::Foreign;
    if (attempt->resuming && (vanished || replaced)) {
      // A lost call may have let it run: this is its end, not a start that failed.
      co_await endForSure(core, id);
      co_return;
    }
    if (vanished) {
      std::string name = attempt->record.name;
      const StopReason reason = co_await core.seams.hypervisor.whyEnded(attempt->ref().vm, name);
      why = Error(ErrorClass::HostRejected, name + " vanished before it could run (" +
                                                std::string(nameOf(reason)) +
                                                "); look into the hypervisor's log");
    }
    log::info("start of {} ends: {}", attempt->record.name, why.message);
    co_await discard(core, *attempt, std::move(why));
  }
  core.release(*attempt);
}

}  // namespace vms::hostagent
