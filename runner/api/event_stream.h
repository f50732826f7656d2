#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <mutex>
#include <string>

#include "runner/api/router.h"

/// What all streams of server-sent events have in common.
namespace vms::runner::api {

/// Wakes a connection from the engine's executor. Rung while nobody waits, it wakes the next wait.
class Bell : public std::enable_shared_from_this<Bell> {
 public:
  explicit Bell(const asio::any_io_executor& executor) : executor_(executor), wake_(executor) {}

  /// From any thread.
  void ring();
  /// Until it rings or `patience` has passed. On the connection's executor.
  asio::awaitable<void> wait(Duration patience);

 private:
  bool takeRing();

  const asio::any_io_executor executor_;
  asio::steady_timer wake_;
  std::mutex mutex_;
  bool rung_ = false;
};

/// The token of an answer that takes long: looked at again now and then. On the connection's
/// executor.
class TokenWatch {
 public:
  /// `authorization`: of the request. `context` outlives this.
  TokenWatch(const ApiContext* context, std::string authorization);

  /// When the next look is due.
  TimePoint due() const { return checked_at_ + context_->token_check; }
  /// Looks if that is due. Unauthenticated, Forbidden: the token was revoked or has expired.
  asio::awaitable<Result<void>> check();

 private:
  const ApiContext* context_;
  std::string authorization_;
  TimePoint checked_at_;
};

/// Events on their way to one client: keeps a quiet stream alive, and ends it when its token no
/// longer counts. On the connection's executor.
class EventStream {
 public:
  /// `authorization`: of the request that opened it. Both pointers outlive this.
  EventStream(const ApiContext* context, ResponseStream* out, std::string authorization);

  asio::awaitable<Result<void>> write(std::string text);
  /// How long it may be left alone; then, or earlier, call `tend`.
  Duration patience() const;
  /// False: the token was revoked or has expired; the client has been told, the stream is over.
  asio::awaitable<Result<bool>> tend();

 private:
  const ApiContext* context_;
  ResponseStream* out_;
  TokenWatch token_;
  TimePoint written_at_;
};

/// Content type and caching of a stream.
HttpHeaders eventStreamHeaders();

}  // namespace vms::runner::api
