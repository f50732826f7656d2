#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <memory>
#include <optional>
#include <utility>

namespace vms::sim {

namespace asio = boost::asio;

/// How the world wakes a coroutine of a process: set once, from anywhere on the only thread. The
/// waiting coroutine owns it; the world holds it weakly, so that a crash leaves nothing dangling.
class Signal {
 public:
  explicit Signal(const asio::any_io_executor& executor)
      : timer_(executor, asio::steady_timer::time_point::max()) {}

  void set() {
    set_ = true;
    timer_.cancel();
  }
  bool isSet() const noexcept { return set_; }

  /// Returns once it is set; throws operation_aborted when the coroutine is cancelled.
  static asio::awaitable<void> wait(std::shared_ptr<Signal> self) {
    if (self->set_) co_return;
    const auto [error] = co_await self->timer_.async_wait(asio::as_tuple(asio::use_awaitable));
    if (!self->set_) throw boost::system::system_error(error);
  }

 private:
  asio::steady_timer timer_;
  bool set_ = false;
};

/// An answer that the world gives later.
template <class T>
class Answer {
 public:
  explicit Answer(const asio::any_io_executor& executor)
      : signal_(std::make_shared<Signal>(executor)) {}

  /// The first one counts.
  void give(T value) {
    if (value_) return;
    value_.emplace(std::move(value));
    signal_->set();
  }

  static asio::awaitable<T> wait(std::shared_ptr<Answer> self) {
    co_await Signal::wait(self->signal_);
    T value = std::move(*self->value_);
    co_return value;
  }

 private:
  std::shared_ptr<Signal> signal_;
  std::optional<T> value_;
};

}  // namespace vms::sim
