#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace vms {

namespace asio = boost::asio;

/// The only way to spawn a coroutine: it owns its children, reports what escapes them, and can
/// cancel and await all of them, which is how a daemon shuts down.
///
/// One executor, no locks. A child that ends by cancellation (operation_aborted) ends quietly; any
/// other exception at a child's root is a bug and aborts the process with the child's name.
class TaskGroup {
 public:
  explicit TaskGroup(asio::any_io_executor executor);
  /// Cancels nothing: destroying a group with live children is allowed only together with their
  /// executor (a crash in the simulator); children must not outlive what they refer to.
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  /// Starts `make()` as a child. The callable is kept alive as long as the coroutine runs, so its
  /// captures are safe to use; give it values, not references to locals. Refused (never called)
  /// after `cancel()`.
  void spawn(std::string name, std::function<asio::awaitable<void>()> make);

  /// Asks every child to stop and refuses new ones. Idempotent.
  void cancel();
  /// Returns when no child is left. Usually after `cancel()`.
  asio::awaitable<void> join();

  std::size_t size() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace vms
