#pragma once

#include <boost/asio/awaitable.hpp>

#include "schema/base/time.h"

namespace vms {

namespace asio = boost::asio;

/// The only source of time. The real one reads CLOCK_BOOTTIME; the simulator's is virtual.
class Clock {
 public:
  virtual ~Clock() = default;

  /// Intervals, time-outs and leases. Never goes back.
  virtual TimePoint now() const = 0;
  /// People and history. May jump.
  virtual WallTime wallNow() const = 0;
  /// Returns at `when` or later; at once when it has passed. Cancellation throws
  /// operation_aborted, as every Asio operation does. Call on the owner's executor.
  virtual asio::awaitable<void> sleepUntil(TimePoint when) = 0;

  asio::awaitable<void> sleepFor(Duration duration) { return sleepUntil(now() + duration); }
};

}  // namespace vms
