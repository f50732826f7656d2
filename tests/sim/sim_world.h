#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "schema/base/rng.h"
#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_process.h"
#include "tests/sim/sim_trace.h"

namespace vms::sim {

/// A simulated world: time, randomness, processes, and the driver that runs them on one thread.
///
/// Owns its processes; outlives everything that refers to it. All draws that decide what the world
/// does come from `rng()`; a process gets a generator of its own (`rng().fork()`).
class World {
 public:
  explicit World(std::uint64_t seed);
  ~World();

  Timeline& timeline() noexcept { return timeline_; }
  TimePoint now() const noexcept { return timeline_.now(); }
  Rng& rng() noexcept { return rng_; }
  Trace& trace() noexcept { return trace_; }

  void at(TimePoint when, std::function<void()> effect) { timeline_.at(when, std::move(effect)); }
  void in(Duration delay, std::function<void()> effect) { at(now() + delay, std::move(effect)); }

  /// A line of the story that a reader follows, and one for whoever debugs.
  void tell(std::string_view text) { trace_.line(Trace::Level::Story, now(), text); }
  void detail(std::string_view text) { trace_.line(Trace::Level::Detail, now(), text); }

  /// The new process is not started.
  Process& addProcess(std::string name);
  const std::vector<std::unique_ptr<Process>>& processes() const noexcept { return processes_; }

  /// Carries out one event: a handler of a process drawn among those that have one, or, when all
  /// are idle, the next effect of the timeline. False when nothing is left, or the next effect is
  /// due after `limit` (time is then `limit`) .
  bool step(TimePoint limit);
  std::uint64_t steps() const noexcept { return steps_; }

  /// Called after every event, outside all processes.
  void setHook(std::function<void()> hook) { hook_ = std::move(hook); }

  /// Runs until `done` says so; false when time reached `limit`, or nothing was left, before.
  bool runUntil(const std::function<bool()>& done, TimePoint limit);
  /// Runs for so long.
  void runFor(Duration duration);
  /// Ends the current and every later run early; a checker that failed asks for it.
  void stop() noexcept { stopped_ = true; }
  bool stopped() const noexcept { return stopped_; }

 private:
  bool pollSome();

  Timeline timeline_;
  Rng rng_;
  Rng order_;  ///< Decides whose handler is next.
  Trace trace_;
  std::vector<std::unique_ptr<Process>> processes_;
  std::vector<std::size_t> candidates_;  ///< Processes that may have a ready handler.
  std::function<void()> hook_;
  std::uint64_t steps_ = 0;
  bool stopped_ = false;
};

}  // namespace vms::sim
