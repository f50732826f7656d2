#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <optional>

#include "runner/engine.h"
#include "runner/store.h"
#include "schema/base/clock.h"
#include "schema/base/task_group.h"
#include "schema/base/wake.h"

namespace vms::runner {

/// Turns the engine's state machine: one turn at a time, its changes committed in one transaction,
/// then its effects released. Everything that happens during a commit shares the next one, so the
/// group commit clocks itself.
///
/// Owned by the daemon, on its executor.
class TurnLoop {
 public:
  /// `release` lets effects out; called once per turn, in order, after its commit.
  TurnLoop(asio::any_io_executor executor, Clock& clock, Store& store, Engine& engine,
           std::function<void(Effects)> release);

  Now now() const { return {clock_.now(), clock_.wallNow()}; }

  /// Something happened: a turn is due. Cheap; any number of calls give one turn.
  void kick();

  /// Returns once everything that the engine has changed so far is durable. StoreFull: it is not;
  /// it stays in memory, is tried again until there is room, and then takes effect.
  asio::awaitable<Result<void>> durable();

  /// Whether the last commit found the disk full even with the reserve.
  bool storeFull() const { return store_full_; }

  /// Runs until `stop()`, and ends after the last change is durable, or after `stop()` when the
  /// disk is full.
  asio::awaitable<void> run();
  void stop();

 private:
  /// False: the disk is full and the loop is stopping.
  asio::awaitable<bool> commit(std::vector<Change> changes);
  asio::awaitable<void> endRestore();
  asio::awaitable<void> makeRestored(Marks higher);
  void arm();

  Clock& clock_;
  Store& store_;
  Engine& engine_;
  std::function<void(Effects)> release_;
  Wake kicked_wake_;
  Wake durable_wake_;
  TaskGroup alarms_;
  bool kicked_ = true;
  bool stopping_ = false;
  bool in_turn_ = false;
  bool store_full_ = false;
  bool over_ = false;          ///< run() has ended: nothing more becomes durable.
  std::uint64_t taken_ = 0;    ///< Turns taken out of the engine.
  std::uint64_t durable_ = 0;  ///< Turns whose changes are durable.
  std::optional<TimePoint> armed_;
};

}  // namespace vms::runner
