#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <functional>

#include "schema/base/clock.h"
#include "schema/base/task_group.h"

namespace vms {

/// What a daemon does when it is asked from outside, and what it tells systemd.
///
/// The first SIGTERM or SIGINT asks it to stop; if it has not ended 4.5 s later the process exits,
/// with status 0: every durable step precedes its effect, so that nothing is lost. SIGHUP asks it
/// to read its files again. Lives on the daemon's one thread.
class DaemonSignals {
 public:
  struct Actions {
    std::function<void()> stop;    ///< Called once.
    std::function<void()> reload;  ///< Never after `stop`.
  };

  /// Signals are caught from now on and answered from start() on.
  DaemonSignals(asio::io_context& io, Clock& clock, Actions actions);

  void start();
  /// Tells systemd that the daemon serves.
  static void announceReady();
  /// The daemon has stopped: nothing keeps its io_context running on our account.
  void end();

 private:
  asio::awaitable<void> serve();

  Clock& clock_;
  const Actions actions_;
  asio::signal_set signals_;
  TaskGroup tasks_;
};

}  // namespace vms
