#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <boost/json/serialize.hpp>
#include <memory>

#include "runner/ctl/commands.h"
#include "runner/ctl/interrupt.h"
#include "runner/ctl/output.h"
#include "runner/ctl/text_width.h"
#include "runner/ctl/watch_view.h"
#include "schema/base/cli_text.h"

/// watch: hosts, queue and recent failures, again and again.
namespace vms::runner::ctl {
namespace {

constexpr std::size_t kRequestsAsked = 50;
constexpr std::size_t kFailuresAsked = 20;
constexpr Duration kIntervalMin = milliseconds(100);
constexpr Duration kIntervalMax = std::chrono::hours(1);

struct WatchOptions {
  std::string interval = "2s";
  std::size_t count = 0;
};

/// The other screen of the terminal, until the end.
class OtherScreen {
 public:
  explicit OtherScreen(bool on) : on_(on) {
    if (on_) put("\x1b[?1049h\x1b[?25l");
  }
  ~OtherScreen() {
    if (!on_) return;
    put("\x1b[?25h\x1b[?1049l");
    flushOutput();
  }
  OtherScreen(const OtherScreen&) = delete;
  OtherScreen& operator=(const OtherScreen&) = delete;

 private:
  const bool on_;
};

Outcome<json::object> ask(ApiClient& api) {
  const auto hosts = rowsOf(api.get("/v1/hosts"), "hosts");
  if (!hosts) return hosts.error();
  const auto requests = api.getAll("/v1/requests", {}, "requests", kRequestsAsked);
  if (!requests) return requests.error();
  Query failed;
  failed.emplace_back("outcome", "failed");
  const auto failures = api.getAll("/v1/history", failed, "attempts", kFailuresAsked);
  if (!failures) return failures.error();
  return watchView(api.clock().wallNow(), *hosts, *requests, *failures);
}

Outcome<int> watch(const Settings& settings, const WatchOptions& options) {
  const auto interval = parseDuration(options.interval);
  if (!interval || *interval < kIntervalMin || *interval > kIntervalMax) {
    return Failure(kExitUsage, "--interval '" + options.interval +
                                   "' is no time from 100ms to 1h; give one as 2s");
  }
  auto api = ApiClient::open(settings);
  if (!api) return api.error();
  const TimePoint deadline =
      settings.timeLimit() ? api->clock().now() + *settings.timeLimit() : TimePoint::max();
  catchInterrupts();
  auto view = ask(*api);
  // Later the engine may be away for a while; the first time it must be there.
  if (!view) return view.error();
  const bool live =
      settings.format() == Output::Table && screenOf(STDOUT_FILENO, settings.colour()).is_terminal;
  const OtherScreen other(live);
  for (std::size_t shown = 1;; ++shown) {
    if (live) {
      // The size may have changed.
      const Screen screen = screenOf(STDOUT_FILENO, settings.colour());
      put("\x1b[H" +
          (view ? watchScreen(*view, screen)
                : cutTo(printable(view.error().message), screen.width) + "\x1b[K\n") +
          "\x1b[J");
    } else if (!view) {
      std::fprintf(stderr, "vmsctl: %s\n", printable(view.error().message).c_str());
    } else if (settings.format() == Output::Table) {
      put(watchLine(*view) + "\n");
    } else {
      put(json::serialize(*view) + "\n");
    }
    const bool lost = flushOutput() != 0;
    if (lost || interrupted() || shown == options.count) break;
    const TimePoint now = api->clock().now();
    if (now >= deadline) break;
    api->pause(std::min(*interval, deadline - now));
    if (interrupted()) break;
    view = ask(*api);
    if (interrupted()) break;
    if (!view && view.error().status == kExitNotAuthorised) return view.error();
  }
  return kExitOk;
}

}  // namespace

void addWatchCommand(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("watch", "Show hosts, queue and recent failures, live");
  auto options = std::make_shared<WatchOptions>();
  command
      ->add_option("--interval", options->interval, "Time between views, 100ms to 1h; default 2s")
      ->type_name("TIME");
  command->add_option("--count", options->count, "End after so many views; default: never")
      ->type_name("N");
  describe(
      *command,
      "Ctrl-C ends it and brings the terminal back as it was. Without a terminal each view is one\n"
      "line, with --output json, ndjson or csv one JSON object in a line.",
      {"vmsctl watch", "vmsctl watch --interval 10s --output ndjson >> watch.log"});
  command->callback([&action, options]() {
    action = [options](const Settings& settings) { return watch(settings, *options); };
  });
}

}  // namespace vms::runner::ctl
