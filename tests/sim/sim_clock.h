#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <vector>

#include "schema/base/clock.h"

namespace vms::sim {

/// The virtual time of a simulated world, and everything that is to happen in it.
///
/// Effects are ordered by (time, sequence), so that ties are decided by who asked first and the
/// same seed gives the same order. Time moves only in `runNext()`.
class Timeline {
 public:
  TimePoint now() const noexcept { return now_; }

  /// `effect` happens at `when`, or next if that has passed. It must not run coroutines itself: it
  /// changes the world and wakes processes.
  void at(TimePoint when, std::function<void()> effect);

  /// When the next effect is due; empty when nothing is left.
  std::optional<TimePoint> next() const;
  /// Moves time to the next effect and carries it out. Precondition: there is one.
  void runNext();
  /// Moves time forward. Precondition: no effect is due before `when`.
  void moveTo(TimePoint when);

 private:
  struct Entry {
    TimePoint when;
    std::uint64_t sequence = 0;
    std::function<void()> effect;
    bool operator<(const Entry& other) const {
      return when != other.when ? when > other.when : sequence > other.sequence;
    }
  };
  TimePoint now_{};
  std::uint64_t next_sequence_ = 0;
  std::priority_queue<Entry> heap_;
};

/// How one machine's clock relates to the world's.
struct MachineClock {
  TimePoint booted{};          ///< World time of the boot: the interval clock starts there.
  std::int64_t drift_ppb = 0;  ///< Runs fast by so many parts in 10^9; negative: slow.
  Duration wall_offset{};      ///< Error of the wall clock.

  /// What the machine's interval clock shows at a world time, and when it shows at least `local`.
  TimePoint toLocal(TimePoint world) const noexcept;
  TimePoint toWorld(TimePoint local) const noexcept;
};

/// Virtual wall time at the start of every simulation: 2026-01-01T00:00:00Z.
inline constexpr WallTime kWorldStart{1'767'225'600'000};

/// One process's Clock: the world's time, as its machine's clock shows it. Sleepers die with their
/// executor's context; the timeline holds no reference to them.
class SimClock final : public Clock {
 public:
  SimClock(Timeline& timeline, asio::any_io_executor executor, MachineClock machine = {});

  TimePoint now() const override;
  WallTime wallNow() const override;
  asio::awaitable<void> sleepUntil(TimePoint when) override;

 private:
  Timeline& timeline_;
  asio::any_io_executor executor_;
  MachineClock machine_;
};

}  // namespace vms::sim
