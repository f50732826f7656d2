#include "runner/ctl/interrupt.h"

#include <csignal>

namespace vms::runner::ctl {
namespace {

volatile std::sig_atomic_t interrupt_came = 0;

}  // namespace

void catchInterrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupt_came = 1; };
  action.sa_flags = SA_RESTART;  // A write under way must not look like one that failed.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    // What was ignored, as under nohup, stays ignored.
    if (::sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    ::sigaction(signal, &action, nullptr);
  }
}

bool interrupted() { return interrupt_came != 0; }

}  // namespace vms::runner::ctl
