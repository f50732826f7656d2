#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace vms {

namespace asio = boost::asio;

/// Lets coroutines of one executor wait for a condition: `while (!condition) co_await
/// wake.wait();`. Whoever changes the condition calls `notify()`. Involves no time. Cancellation
/// throws operation_aborted at the waiter's next co_await, as everywhere.
class Wake {
 public:
  explicit Wake(const asio::any_io_executor& executor)
      : timer_(executor, asio::steady_timer::time_point::max()) {}

  void notify() { timer_.cancel(); }

  /// Returns after the next `notify()`, and possibly without one.
  asio::awaitable<void> wait() {
    boost::system::error_code woken;
    co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, woken));
  }

 private:
  asio::steady_timer timer_;
};

}  // namespace vms
