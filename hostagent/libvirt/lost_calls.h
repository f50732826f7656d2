#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "hostagent/libvirt/daemon_instance.h"
#include "schema/base/time.h"
#include "schema/claim.h"

namespace vms::hostagent {

/// Remembers creates whose answer was lost until they can have no effect any more (S2). Why the
/// rules suffice is written in docs/adr/0003-lost-libvirt-calls.md.
///
/// A call is forgotten when it was answered; when the daemon that took it has ended; or when the
/// daemon has answered a later create-class call (`barrierPassed`) and after that the domain was
/// absent from two complete lists `gap` apart. One thread.
class LostCalls {
 public:
  using Token = std::uint64_t;

  /// A create is about to be handed to libvirt.
  Token sent(const AttemptRef& ref);
  void answered(Token token);
  /// The answer will never come. `taker`: the daemon's life that took the call, if known.
  void lost(Token token, std::optional<DaemonInstance> taker);
  /// A call of an earlier life of this agent may be under way. Idempotent per attempt.
  void note(const AttemptRef& ref, std::optional<DaemonInstance> taker);

  bool mayTakeEffect(const AttemptRef& ref) const;
  /// Calls that are lost, not merely unanswered.
  bool anyLost() const;
  /// Some that no barrier covers yet: worth sending one.
  bool needsBarrier() const;
  /// The ids to hand to barrierPassed(): what is lost at this moment.
  std::vector<Token> lostNow() const;

  /// A create-class call that was sent after `covered` had been lost, on a connection opened after
  /// that, has been answered by `daemon`. `gap`: how far apart the two lists must be.
  void barrierPassed(const std::vector<Token>& covered, std::optional<DaemonInstance> daemon,
                     Duration gap);
  /// A complete list of that moment, asked for at `asked`; `present` says whether a VM is in it.
  void listed(TimePoint asked, const std::function<bool(VmId)>& present);
  /// Forgets the calls of daemons that have ended.
  void dropEnded(const std::function<bool(const DaemonInstance&)>& alive);
  /// Calls whose taker is not known are taken to be this daemon's.
  void assumeTaker(const DaemonInstance& daemon);

 private:
  struct Call {
    AttemptRef ref;
    bool lost = false;
    std::optional<DaemonInstance> taker;
    std::optional<Duration> gap;  ///< Set once a barrier has passed.
    std::optional<TimePoint> absent_since;
  };

  Token next_ = 1;
  std::map<Token, Call> calls_;
};

}  // namespace vms::hostagent
