#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "schema/base/time.h"

namespace vms::runner::api {

/// How often each peer has sent a wrong token: a few at once, then one in a while. It bounds what
/// guessing costs us and our logs; who has a good token is never asked. From any thread.
class WrongTokens {
 public:
  struct Limits {
    int burst = 20;
    Duration refill = seconds(1);  ///< Until one more is forgiven.
    std::size_t peers = 4'096;     ///< Beyond it those that were quiet for longest are forgotten.
  };
  WrongTokens() : WrongTokens(Limits{}) {}
  explicit WrongTokens(Limits limits) : limits_(limits) {}

  /// One more from `peer`, an address; when it is one too many: how long the peer should wait.
  std::optional<Duration> note(const std::string& peer, TimePoint now);

 private:
  struct Peer {
    std::string address;
    TimePoint forgiven_at;  ///< When nothing is held against it any more.
  };

  const Limits limits_;
  std::mutex mutex_;
  std::list<Peer> peers_;  ///< Quiet for longest first.
  std::map<std::string, std::list<Peer>::iterator> by_address_;
};

}  // namespace vms::runner::api
