#include "hostagent/libvirt/lost_calls.h"

#include <algorithm>

namespace vms::hostagent {

LostCalls::Token LostCalls::sent(const AttemptRef& ref) {
  const Token token = next_++;
  calls_[token].ref = ref;
  return token;
}

void LostCalls::answered(Token token) { calls_.erase(token); }

void LostCalls::lost(Token token, std::optional<DaemonInstance> taker) {
  const auto call = calls_.find(token);
  if (call == calls_.end()) return;
  call->second.lost = true;
  call->second.taker = taker;
}

void LostCalls::note(const AttemptRef& ref, std::optional<DaemonInstance> taker) {
  const bool known = std::any_of(calls_.begin(), calls_.end(), [&](const auto& call) {
    return call.second.lost && call.second.ref == ref;
  });
  if (!known) lost(sent(ref), taker);
}

bool LostCalls::mayTakeEffect(const AttemptRef& ref) const {
  return std::any_of(calls_.begin(), calls_.end(),
                     [&](const auto& call) { return call.second.ref == ref; });
}

bool LostCalls::anyLost() const {
  return std::any_of(calls_.begin(), calls_.end(),
                     [](const auto& call) { return call.second.lost; });
}

bool LostCalls::needsBarrier() const {
  return std::any_of(calls_.begin(), calls_.end(),
                     [](const auto& call) { return call.second.lost && !call.second.gap; });
}

std::vector<LostCalls::Token> LostCalls::lostNow() const {
  std::vector<Token> tokens;
  for (const auto& [token, call] : calls_) {
    if (call.lost) tokens.push_back(token);
  }
  return tokens;
}

void LostCalls::barrierPassed(const std::vector<Token>& covered,
                              std::optional<DaemonInstance> daemon, Duration gap) {
  for (const Token token : covered) {
    const auto call = calls_.find(token);
    if (call == calls_.end() || call->second.gap) continue;
    // A daemon that is on its way out may still work for us while its successor answers.
    if (call->second.taker && call->second.taker != daemon) continue;
    call->second.gap = gap;
  }
}

void LostCalls::listed(TimePoint asked, const std::function<bool(VmId)>& present) {
  for (auto it = calls_.begin(); it != calls_.end();) {
    Call& call = it->second;
    bool over = false;
    if (call.lost && call.gap) {
      if (present(call.ref.vm)) {
        call.absent_since.reset();
      } else if (!call.absent_since) {
        call.absent_since = asked;
      } else {
        over = asked - *call.absent_since >= *call.gap;
      }
    }
    it = over ? calls_.erase(it) : std::next(it);
  }
}

void LostCalls::dropEnded(const std::function<bool(const DaemonInstance&)>& alive) {
  for (auto it = calls_.begin(); it != calls_.end();) {
    const Call& call = it->second;
    it = call.lost && call.taker && !alive(*call.taker) ? calls_.erase(it) : std::next(it);
  }
}

void LostCalls::assumeTaker(const DaemonInstance& daemon) {
  for (auto& [token, call] : calls_) {
    if (call.lost && !call.taker) call.taker = daemon;
  }
}

}  // namespace vms::hostagent
