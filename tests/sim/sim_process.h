#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/sim_clock.h"

namespace vms::sim {

class World;

/// One simulated process: an io_context of its own, a clock, and the object that lives in it.
///
/// A crash is a SIGKILL: the seams fall silent (`alive()` is false), every coroutine frame is
/// destroyed, then the root object, then the context. What the process handed to the world before
/// goes on there. A later `start` is a new incarnation on a new context.
class Process {
 public:
  /// Builds what runs in the process; what it returns is destroyed at the crash.
  using Factory = std::function<std::shared_ptr<void>(Process&)>;

  Process(World& world, std::string name, std::size_t index);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  const std::string& name() const noexcept { return name_; }
  std::size_t index() const noexcept { return index_; }
  World& world() noexcept { return world_; }
  bool alive() const noexcept { return context_ != nullptr && !dying_; }
  /// Grows with every start; 0: never started.
  std::uint64_t incarnation() const noexcept { return incarnation_; }

  /// Takes effect at the next start.
  MachineClock& machine() noexcept { return machine_; }

  /// Precondition: not alive.
  void start(Factory factory);
  /// Precondition: no coroutine of this process is running now. No effect when it is not alive.
  void crash();
  /// Called at every crash, in the order of registration, before anything is destroyed.
  void onCrash(std::function<void()> observer) { observers_.push_back(std::move(observer)); }

  /// Precondition of both: alive, or being built or destroyed.
  asio::any_io_executor executor();
  SimClock& clock();

  /// Runs one handler; false when none was ready.
  bool pollOne();

 private:
  class Context;

  World& world_;
  const std::string name_;
  const std::size_t index_;
  MachineClock machine_;
  std::uint64_t incarnation_ = 0;
  bool dying_ = false;
  std::vector<std::function<void()>> observers_;
  std::unique_ptr<Context> context_;
  std::unique_ptr<SimClock> clock_;
  std::shared_ptr<void> root_;
};

}  // namespace vms::sim
