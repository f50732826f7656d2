#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "schema/base/error.h"
#include "schema/base/time.h"
#include "schema/claim.h"

namespace vms::hostagent {

namespace asio = boost::asio;

/// Whose list it is (S4). Two equal identities mean: the same hypervisor, in the same life of it as
/// far as running domains are concerned.
struct HypervisorIdentity {
  std::string uri;
  std::string host_uuid;
  bool local = true;
  bool operator==(const HypervisorIdentity&) const = default;
};

/// What to build.
struct DomainSpec {
  VmId vm;
  std::string name;
  std::string xml;  ///< As defined by the user; the implementation adds the claim.
  std::uint64_t memory = 0;
  std::uint32_t vcpus = 0;
};

enum class DomainState {
  Starting,  ///< Listed, not yet launched.
  Paused,
  Running,
  Dying,  ///< Being destroyed, or shut off and not yet cleaned up.
};

struct DomainInfo {
  VmId vm;
  std::string name;
  std::optional<Claim> claim;  ///< From the domain's own metadata; absent: not ours (S11).
  DomainState state = DomainState::Running;
  std::uint64_t memory = 0;  ///< Configured size, bytes.
  std::uint32_t vcpus = 0;
  /// It was created under its claim and has never executed. For sure: false where that cannot be
  /// told.
  bool never_ran = false;
};

/// Why a domain is gone, as far as the hypervisor knows.
enum class StopReason { Shutdown, Destroyed, Crashed, Failed, Saved, Migrated, Unwatched };
std::string_view nameOf(StopReason reason) noexcept;

/// "This domain or the connection needs attention", with what is known. Neither the order of events
/// nor an event alone is the truth: look it up.
struct HypervisorEvent {
  enum class Kind { Started, Resumed, Suspended, Stopped, ConnectionLost, ConnectionRestored };
  Kind kind = Kind::Started;
  VmId vm;                                   ///< Not for connection events.
  StopReason reason = StopReason::Shutdown;  ///< For Stopped.
};

/// Builds, lists and ends domains on this one host.
///
/// Owned by the agent's composition root; called on the agent's executor, where every operation
/// resumes and every event is delivered; an implementation that must block hops to threads of its
/// own. Operations for different VMs run in parallel; per VM the caller does one at a time.
/// Every operation is bounded by the implementation's time-outs. Cancelling the awaiting coroutine
/// abandons the answer, not the operation.
///
/// Error classes: HostNotReady (not connected; nothing was done), UnknownOutcome (the call was
/// lost; it may yet take effect, S2), Foreign (a domain with that UUID or name exists and is not
/// ours; untouched), HostRejected (the hypervisor refused), Invalid, Dependency, NotFound.
class Hypervisor {
 public:
  virtual ~Hypervisor() = default;

  /// Starts connecting and keeps reconnecting with back-off until `stop()`. `on_event` is called on
  /// the agent's executor.
  virtual void start(std::function<void(HypervisorEvent)> on_event) = 0;
  /// Ends everything within 3 s; domains go on running. Later calls return HostNotReady.
  virtual asio::awaitable<void> stop() = 0;

  virtual bool connected() const = 0;
  /// Time since the last good answer to anything (S15); the implementation asks by itself when
  /// idle.
  virtual Duration lastAnswerAge() const = 0;
  /// Why it is not connected, for people; empty while it is.
  virtual std::string notReadyReason() const = 0;

  virtual asio::awaitable<Result<HypervisorIdentity>> identity() = 0;

  /// Every domain that exists now, ours and foreign: complete or an error.
  virtual asio::awaitable<Result<std::vector<DomainInfo>>> list() = 0;
  /// The domain with that UUID; an empty optional means: asked, and absent at that moment.
  virtual asio::awaitable<Result<std::optional<DomainInfo>>> lookUp(VmId vm) = 0;

  /// Creates the domain paused with `claim` in its metadata, and there the mark that it has never
  /// executed. Looks first: if this VM's domain with
  /// the same attempt exists already, returns it. Never touches a domain with another claim
  /// (Superseded if it is ours with another attempt, Foreign otherwise). HostRejected: everything
  /// of it is gone, verified. UnknownOutcome: a domain may exist now or later.
  virtual asio::awaitable<Result<DomainInfo>> createPaused(DomainSpec spec, Claim claim) = 0;

  /// Whether a call of ours that was lost may still take effect: true until the hypervisor daemon
  /// that took it has ended, or is known to hold no queued work of ours (S2).
  /// Ask this first and look up afterwards: absence proves the end only in that order.
  virtual bool mayHoldLostCall(AttemptRef ref) const = 0;
  /// A create of `ref` may have been sent by an earlier life of this agent, whose end lost the
  /// answer. `recover` says so for every claim it finds in phase Building; from then on
  /// mayHoldLostCall(ref) holds until the daemon that runs now has ended or is known to hold
  /// nothing of it. Idempotent.
  virtual void noteLostCall(AttemptRef ref) = 0;

  /// Lets the guest execute; the only operation that does. Before that it takes the mark off that
  /// the guest never has. Checks that the domain carries `ref`
  /// (Superseded otherwise). Succeeds without effect if it runs already. NotFound: absent.
  virtual asio::awaitable<Result<void>> resume(AttemptRef ref) = 0;

  /// Asks the guest to power off and returns; the end arrives as an event.
  virtual asio::awaitable<Result<void>> shutDown(AttemptRef ref) = 0;

  /// Ends the domain and returns once it is verified gone. Succeeds if it is absent. A domain that
  /// does not carry `ref` is not touched (Superseded or Foreign).
  virtual asio::awaitable<Result<void>> destroy(AttemptRef ref) = 0;

  /// Why a domain that is gone ended, if that was recorded anywhere (S20); Unwatched otherwise.
  virtual asio::awaitable<StopReason> whyEnded(VmId vm, std::string name) = 0;
};

}  // namespace vms::hostagent
