#pragma once

#include "schema/base/clock.h"

namespace vms {

/// The machine's clocks. Intervals are CLOCK_BOOTTIME, which counts while the machine is suspended.
///
/// Stateless: may be shared between threads. A sleep ends on the sleeper's own executor, never
/// early, and at most one second late after the machine was suspended.
class AsioClock final : public Clock {
 public:
  TimePoint now() const override;
  WallTime wallNow() const override;
  asio::awaitable<void> sleepUntil(TimePoint when) override;
};

}  // namespace vms
