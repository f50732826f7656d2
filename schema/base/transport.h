#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>
#include <string>

#include "schema/base/error.h"

namespace vms {

namespace asio = boost::asio;

/// Who is at the other end, as proven by its certificate.
struct PeerIdentity {
  std::string common_name;
  std::string address;  ///< For logs only.
};

/// One ordered, reliable, bidirectional stream of whole messages that may be cut at any moment.
/// Owned by the coroutine that reads it; used on the owner's executor only. After a cut, what was
/// sent may or may not have arrived.
class Connection {
 public:
  virtual ~Connection() = default;

  virtual const PeerIdentity& peer() const = 0;

  /// Queues `message` and returns once it has been handed to the network, not once it arrived.
  /// Messages leave in the order of the calls. Errors: TooLarge (over the message limit, nothing
  /// sent), RateLimited (the peer does not read and the send queue is full; the connection is
  /// closed), Unavailable (closed).
  virtual asio::awaitable<Result<void>> send(std::string message) = 0;

  /// The next whole message. One reader at a time. Unavailable: closed by either side.
  virtual asio::awaitable<Result<std::string>> receive() = 0;

  /// Ends both directions now; pending operations return Unavailable. Idempotent.
  virtual void close() noexcept = 0;
};

/// Accepts connections from peers that proved an identity; others are refused and logged inside.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual asio::awaitable<Result<std::unique_ptr<Connection>>> accept() = 0;
  /// Pending and later accepts return Unavailable. Idempotent.
  virtual void close() noexcept = 0;
};

/// Opens connections to one configured peer.
class Dialer {
 public:
  virtual ~Dialer() = default;
  /// Bounded by the implementation's connect time-out. Unavailable: not reachable now;
  /// Unauthenticated: the peer's certificate or ours was refused.
  virtual asio::awaitable<Result<std::unique_ptr<Connection>>> connect() = 0;
};

}  // namespace vms
