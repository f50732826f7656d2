#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string_view>

#include "hostagent/hypervisor.h"
#include "hostagent/ledger.h"
#include "schema/base/error.h"

// The named steps of which the flows are made. Each expects that its caller holds the attempt,
// makes its decision durable before anything outside can see it, and ends quietly only by
// cancellation.

namespace vms::hostagent {

struct AgentCore;

/// Pauses between tries of one thing: doubling, jittered, capped.
class Pacer {
 public:
  explicit Pacer(AgentCore& core);
  asio::awaitable<void> pause();
  void reset();

 private:
  AgentCore& core_;
  Duration next_;
};

/// Why the guest must not execute (any more): Cancelled by a wish, or Superseded by a newer epoch
/// of the VM (S12). Asked right before each step that cannot be taken back.
std::optional<Error> mayNotRun(const AgentCore& core, const Attempt& attempt);

/// Decides that the hypervisor is about to be touched, which must not happen before this is
/// durable.
void decideBuild(AgentCore& core, Attempt& attempt);
/// Journals that, unless it has been, and reports it.
asio::awaitable<void> beginBuild(AgentCore& core, Attempt& attempt);

/// Has the domain created, paused. After a lost call it asks until the hypervisor knows (S2), for
/// as long as that takes. An error is the attempt's end; something may be left that `discard` must
/// undo. HostNotReady: the hypervisor stayed away and was never reached.
asio::awaitable<Result<DomainInfo>> launch(AgentCore& core, Attempt& attempt);

/// Makes the launched domain visible.
asio::awaitable<void> publish(AgentCore& core, Attempt& attempt);

/// Lets a published domain execute unless it is wanted paused, and reports it started. An error is
/// the attempt's end, as above; NotFound: the domain has vanished.
asio::awaitable<Result<void>> letRun(AgentCore& core, Attempt& attempt);

/// Undoes everything, verified, then makes the end durable and reports it: Cancelled by a wish, or
/// failed for `why`. Returns only when no domain of this attempt exists or ever will.
asio::awaitable<void> discard(AgentCore& core, Attempt& attempt, Error why);

/// Decides that a domain that had started is gone. The caller makes it durable and calls `tellEnd`.
void decideEnd(AgentCore& core, Attempt& attempt, StopReason reason, std::string_view note = {});
/// Reports what has just become durable, and takes the attempt out of the published list.
void tellEnd(AgentCore& core, const Attempt& attempt);

}  // namespace vms::hostagent
