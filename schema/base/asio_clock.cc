#include "schema/base/asio_clock.h"

#include <time.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "schema/base/check.h"

namespace vms {
namespace {

/// Asio's timers stand still during a suspend, so that a longer wait is cut into such pieces.
constexpr Duration kLongestWait = seconds(1);

Duration read(clockid_t id) {
  timespec value{};
  VMS_CHECK(::clock_gettime(id, &value) == 0, "a clock that every Linux has cannot be read");
  return seconds(value.tv_sec) + Duration(value.tv_nsec);
}

}  // namespace

TimePoint AsioClock::now() const { return {read(CLOCK_BOOTTIME)}; }

WallTime AsioClock::wallNow() const { return {toMs(read(CLOCK_REALTIME))}; }

asio::awaitable<void> AsioClock::sleepUntil(TimePoint when) {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  for (TimePoint current = now(); current < when; current = now()) {
    timer.expires_after(std::min(when - current, kLongestWait));
    co_await timer.async_wait(asio::use_awaitable);
  }
}

}  // namespace vms
