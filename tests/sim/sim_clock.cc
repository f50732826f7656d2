#include "tests/sim/sim_clock.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <memory>
#include <utility>

#include "schema/base/check.h"
#include "tests/sim/sim_signal.h"

namespace vms::sim {

namespace {

constexpr std::int64_t kBillion = 1'000'000'000;
/// Sleeps beyond this never end by themselves.
constexpr Duration kForever = std::chrono::hours(24 * 365 * 10);

Duration drifted(Duration d, std::int64_t drift_ppb) noexcept {
  const std::int64_t ns = d.count();
  return Duration(ns / kBillion * drift_ppb + ns % kBillion * drift_ppb / kBillion);
}

}  // namespace

void Timeline::at(TimePoint when, std::function<void()> effect) {
  heap_.push(Entry{when < now_ ? now_ : when, next_sequence_++, std::move(effect)});
}

std::optional<TimePoint> Timeline::next() const {
  if (heap_.empty()) return std::nullopt;
  return heap_.top().when;
}

void Timeline::runNext() {
  VMS_CHECK(!heap_.empty(), "nothing is left to happen");
  // The effect may add to the heap, so it leaves it first.
  Entry entry = heap_.top();
  heap_.pop();
  now_ = entry.when;
  entry.effect();
}

void Timeline::moveTo(TimePoint when) {
  VMS_CHECK(heap_.empty() || heap_.top().when >= when, "an effect is due before");
  if (when > now_) now_ = when;
}

TimePoint MachineClock::toLocal(TimePoint world) const noexcept {
  const Duration uptime = world - booted;
  return TimePoint{uptime + drifted(uptime, drift_ppb)};
}

TimePoint MachineClock::toWorld(TimePoint local) const noexcept {
  const Duration wanted = local.since_start;
  TimePoint world = booted + (wanted - drifted(wanted, drift_ppb));
  // The first guess is off by the square of the drift; each round divides what is missing.
  while (toLocal(world) < local) {
    const Duration missing = local - toLocal(world);
    world = world + std::max(Duration(1), missing - drifted(missing, drift_ppb));
  }
  return world;
}

SimClock::SimClock(Timeline& timeline, asio::any_io_executor executor, MachineClock machine)
    : timeline_(timeline), executor_(std::move(executor)), machine_(machine) {}

TimePoint SimClock::now() const { return machine_.toLocal(timeline_.now()); }

WallTime SimClock::wallNow() const {
  return kWorldStart + (timeline_.now().since_start + machine_.wall_offset);
}

asio::awaitable<void> SimClock::sleepUntil(TimePoint when) {
  if (when <= now()) co_return;
  const auto alarm = std::make_shared<Signal>(executor_);
  if (when.since_start < now().since_start + kForever) {
    timeline_.at(machine_.toWorld(when), [weak = std::weak_ptr<Signal>(alarm)]() {
      if (const auto sleeper = weak.lock()) sleeper->set();
    });
  }
  co_await alarm->wait(alarm);
}

}  // namespace vms::sim
