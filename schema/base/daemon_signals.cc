#include "schema/base/daemon_signals.h"

#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <boost/asio/use_awaitable.hpp>
#include <csignal>
#include <utility>

#include "schema/base/log.h"

namespace vms {
namespace {

constexpr Duration kStopLimit = milliseconds(4'500);

}  // namespace

DaemonSignals::DaemonSignals(asio::io_context& io, Clock& clock, Actions actions)
    : clock_(clock),
      actions_(std::move(actions)),
      signals_(io, SIGTERM, SIGINT, SIGHUP),
      tasks_(io.get_executor()) {}

void DaemonSignals::start() {
  tasks_.spawn("signals", [this] { return serve(); });
}

void DaemonSignals::announceReady() { sd_notify(0, "READY=1"); }

void DaemonSignals::end() {
  signals_.cancel();
  tasks_.cancel();
}

asio::awaitable<void> DaemonSignals::serve() {
  bool stopping = false;
  for (;;) {
    const int signal = co_await signals_.async_wait(asio::use_awaitable);
    if (stopping) continue;
    if (signal == SIGHUP) {
      actions_.reload();
      continue;
    }
    stopping = true;
    log::info("stopping on {}", signal == SIGTERM ? "SIGTERM" : "SIGINT");
    sd_notify(0, "STOPPING=1");
    actions_.stop();
    tasks_.spawn("stop limit", [this]() -> asio::awaitable<void> {
      co_await clock_.sleepFor(kStopLimit);
      log::warn("something did not end in time; exiting without it");
      _exit(0);
    });
  }
}

}  // namespace vms
