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
  std::string authorization_;
  TimePoint written_at_;
  TimePoint checked_at_;
};

/// Content type and caching of a stream.
HttpHeaders eventStreamHeaders();

}  // namespace vms::runner::api
