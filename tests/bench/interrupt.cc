#include "tests/bench/interrupt.h"

#include <csignal>
#include <string>
#include <thread>

#include "schema/base/asio_clock.h"

namespace vms::bench {
namespace {

constexpr Duration kLook = milliseconds(2);
volatile std::sig_atomic_t came = 0;

void remember(int) { came = 1; }

}  // namespace

void catchInterrupts() {
  struct sigaction action {};
  action.sa_handler = remember;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
  // Who writes to a connection that its peer has closed is told so; by default it ends the process
  // without a word.
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &action, nullptr);
}

bool interrupted() noexcept { return came != 0; }

Result<void> waitUntil(const std::function<bool()>& condition, Duration limit,
                       const std::string& what) {
  const AsioClock clock;
  const TimePoint until = clock.now() + limit;
  while (!condition()) {
    if (interrupted()) return Error(ErrorClass::Cancelled, "interrupted; everything was ended");
    if (clock.now() >= until) {
      return Error(ErrorClass::Deadline, what + " took longer than " + formatDuration(limit) +
                                             "; give more with --timeout, or less work");
    }
    std::this_thread::sleep_for(kLook);
  }
  return boost::system::in_place_value;
}

}  // namespace vms::bench
