#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "runner/engine.h"
#include "runner/turn_loop.h"
#include "schema/base/clock.h"
#include "schema/base/task_group.h"
#include "schema/base/transport.h"
#include "schema/base/wake.h"

namespace vms::runner {

/// The connections of agents: handshake, one session per host, frames in and out.
///
/// Owned by the daemon, on its executor. Frames come in as they arrive and go out as effects of
/// turns, in order, through a bounded queue per session.
class HostSessions {
 public:
  HostSessions(asio::any_io_executor executor, Clock& clock, Listener& listener, Engine& engine,
               TurnLoop& turns);

  /// Accepts until `stop()`; returns after every session has ended.
  asio::awaitable<void> run();
  void stop();

  /// Lets the frames of a turn out, and closes what is over.
  void release(Effects& effects);

 private:
  struct Link;

  asio::awaitable<void> serve(std::shared_ptr<Link> link);
  asio::awaitable<void> receiveFrames(std::shared_ptr<Link> link);
  asio::awaitable<void> sendFrames(std::shared_ptr<Link> link);
  asio::awaitable<bool> receiveHello(std::shared_ptr<Link> link);
  asio::awaitable<Result<void>> takeOver(std::shared_ptr<Link> link);
  asio::awaitable<void> refuse(std::shared_ptr<Link> link, Error error);
  void push(Link& link, const proto::Frame& frame);

  asio::any_io_executor executor_;
  Clock& clock_;
  Listener& listener_;
  Engine& engine_;
  TurnLoop& turns_;
  TaskGroup group_;
  std::map<SessionNumber, std::shared_ptr<Link>> links_;
  std::set<HostId> contended_;  ///< Hosts for which a newcomer is being judged.
  bool stopping_ = false;
};

}  // namespace vms::runner
