#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "schema/base/error.h"

namespace vms {

namespace asio = boost::asio;

/// Threads for calls that block (SQLite, libvirt, DNS, fence programs).
///
/// With one thread, functions run one at a time in the order of run(). What a function touches
/// belongs to it while it runs: hand it values, or state that only this executor touches.
class BlockingExecutor {
 public:
  /// Names the threads after `name` (its first 15 bytes). At most `max_queue` functions wait.
  BlockingExecutor(std::string name, std::size_t threads, std::size_t max_queue);
  /// Finishes what is running and what waits, then joins the threads. Destroy it before the
  /// execution contexts of its callers.
  ~BlockingExecutor();
  BlockingExecutor(const BlockingExecutor&) = delete;
  BlockingExecutor& operator=(const BlockingExecutor&) = delete;

  /// Runs `function` on a thread of ours and resumes on the caller's executor with its result;
  /// `function` may return void, a value, or a Result. RateLimited: the queue is full and the
  /// function was not called. What `function` throws is thrown again to the caller.
  ///
  /// Cancellation withdraws a function that still waits; one that runs is never interrupted: the
  /// caller resumes when it has finished. In both cases the caller gets operation_aborted and the
  /// result, if there is one, is dropped.
  template <class Function>
  auto run(Function function) {
    using Returned = std::invoke_result_t<Function&>;
    return runAs(std::move(function), std::type_identity<typename Unwrap<Returned>::Type>());
  }

  /// Runs `work`, which must not throw, on a thread of ours and resumes nobody. False: the queue is
  /// full or this is being destroyed, and `work` is never called. From any thread, ours included.
  bool post(std::function<void()> work);

  /// Functions that wait, without the running ones. From any thread.
  std::size_t queued() const;

 private:
  struct Shared;

  template <class T>
  struct Unwrap {
    using Type = T;
  };
  template <class T>
  struct Unwrap<Result<T>> {
    using Type = T;
  };

  template <class Function, class T>
  asio::awaitable<Result<T>> runAs(Function function, std::type_identity<T>) {
    std::optional<Result<T>> result;
    std::exception_ptr thrown;
    std::function<void()> work = [&function, &result, &thrown] {
      try {
        if constexpr (std::is_same_v<std::invoke_result_t<Function&>, void>) {
          function();
          result.emplace();
        } else {
          result.emplace(function());
        }
      } catch (...) {
        thrown = std::current_exception();
      }
    };
    const Result<void> done = co_await submit(std::move(work));
    if (thrown) std::rethrow_exception(thrown);
    if (!done) co_return done.error();
    co_return std::move(*result);
  }

  asio::awaitable<Result<void>> submit(std::function<void()> work);

  std::shared_ptr<Shared> shared_;
};

}  // namespace vms
