#include "runner/api/wrong_tokens.h"

#include <algorithm>

namespace vms::runner::api {

std::optional<Duration> WrongTokens::note(const std::string& peer, TimePoint now) {
  const std::lock_guard lock(mutex_);
  const auto found = by_address_.find(peer);
  if (found == by_address_.end()) {
    if (peers_.size() >= limits_.peers) {
      by_address_.erase(peers_.front().address);
      peers_.pop_front();
    }
    peers_.push_back(Peer{peer, now});
    by_address_.emplace(peer, std::prev(peers_.end()));
  } else {
    peers_.splice(peers_.end(), peers_, found->second);
  }
  Peer& one = peers_.back();
  const TimePoint forgiven_at = std::max(one.forgiven_at, now) + limits_.refill;
  const Duration over = forgiven_at - (now + limits_.refill * limits_.burst);
  if (over > Duration{}) return over;  // What is refused is not held against it.
  one.forgiven_at = forgiven_at;
  return std::nullopt;
}

}  // namespace vms::runner::api
