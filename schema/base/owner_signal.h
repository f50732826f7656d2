#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace vms {

namespace asio = boost::asio;

/// Wakes coroutines of one owner from other threads.
///
/// The object lives on the owner's executor (single-threaded); only a Remote may be used
/// elsewhere, and it may outlive the object and the executor: then it does nothing. Waiters check
/// their condition (under its own lock) before each wait() and again after it.
class OwnerSignal {
  struct State;

 public:
  /// Copyable, for any thread. An empty one does nothing.
  class Remote {
   public:
    Remote() = default;
    /// Makes every wait() of the owner return. Many calls before the owner runs cost one wake-up.
    void notify() const;

   private:
    friend class OwnerSignal;
    explicit Remote(std::shared_ptr<State> state) : state_(std::move(state)) {}
    std::shared_ptr<State> state_;
  };

  explicit OwnerSignal(asio::any_io_executor owner);
  ~OwnerSignal();
  OwnerSignal(const OwnerSignal&) = delete;
  OwnerSignal& operator=(const OwnerSignal&) = delete;

  Remote remote() const { return Remote(state_); }
  /// Returns after the next notify() or wake(), or for no reason. Cancellation throws
  /// operation_aborted. Keep the object alive until it returns.
  asio::awaitable<void> wait();
  /// The same as notify(), for the owner itself.
  void wake();

 private:
  std::shared_ptr<asio::steady_timer> sleepers_;  ///< Never expires; cancelling it wakes them.
  std::shared_ptr<State> state_;
};

/// Values handed from any thread to one owner, in order. Not bounded: whoever pushes bounds what
/// may be under way.
template <class T>
class OwnerQueue {
 public:
  explicit OwnerQueue(OwnerSignal::Remote owner) : owner_(std::move(owner)) {}

  /// Any thread. False after close(): `value` was dropped.
  bool push(T value) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return false;
      values_.push_back(std::move(value));
    }
    owner_.notify();
    return true;
  }

  std::optional<T> tryPop() {
    const std::lock_guard lock(mutex_);
    if (values_.empty()) return std::nullopt;
    std::optional<T> value(std::move(values_.front()));
    values_.pop_front();
    return value;
  }

  /// Refuses later values and returns those that nobody took. Idempotent.
  std::deque<T> close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    return std::exchange(values_, {});
  }

  bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }

 private:
  const OwnerSignal::Remote owner_;
  mutable std::mutex mutex_;
  std::deque<T> values_;
  bool closed_ = false;
};

}  // namespace vms
