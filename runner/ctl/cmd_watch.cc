#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <boost/json/serialize.hpp>
#include <memory>
#include <optional>

#include "runner/ctl/commands.h"
#include "runner/ctl/follow.h"
#include "runner/ctl/interrupt.h"
#include "runner/ctl/output.h"
#include "runner/ctl/text_width.h"
#include "runner/ctl/watch_model.h"
#include "runner/ctl/watch_view.h"
#include "schema/base/cli_text.h"

/// watch: hosts, queue and recent failures, again and again.
namespace vms::runner::ctl {
namespace {

constexpr std::size_t kRequestsAsked = 50;
constexpr std::size_t kFailuresAsked = 20;
constexpr Duration kIntervalMin = milliseconds(100);
constexpr Duration kIntervalMax = std::chrono::hours(1);
constexpr Duration kDrawEvery = milliseconds(200);
constexpr Duration kAskAtLeast = seconds(10);
constexpr Duration kRetryMin = milliseconds(100);
constexpr Duration kRetryMax = seconds(10);

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

/// Views of what the event stream and the lists say, until somebody ends it.
class Watcher {
 public:
  Watcher(ApiClient& api, const Settings& settings, const WatchOptions& options, Duration interval,
          TimePoint deadline)
      : api_(api),
        settings_(settings),
        count_(options.count),
        interval_(interval),
        deadline_(deadline),
        live_(settings.format() == Output::Table &&
              screenOf(STDOUT_FILENO, settings.colour()).is_terminal) {}

  Outcome<int> run() {
    // Later the engine may be away for a while; the first time it must be there.
    if (auto asked = ask(); !asked) return asked.error();
    const OtherScreen other(live_);
    nextView();
    Duration pause_for = kRetryMin;
    while (!over()) {
      const bool told = follow();
      if (refused_) return *refused_;
      pause_for = told ? kRetryMin : std::min(pause_for * 2, kRetryMax);
      const TimePoint again = api_.clock().now() + pause_for;
      while (!over() && api_.clock().now() < again) {
        api_.pause(kRetryMin);
        tend();
      }
    }
    if (refused_) return *refused_;
    return kExitOk;
  }

 private:
  /// One connection of the stream; false when it told nothing.
  bool follow() {
    bool told = false;
    model_.begin();
    const auto streamed = api_.events(
        "/v1/events", model_.lastId(),
        [&](const SseEvent& event) {
          if (!model_.apply(event)) return !over();
          told = changed_ = undrawn_ = true;
          following_ = model_.whole();
          if (following_) note_.clear();
          return !over();
        },
        [&]() {
          tend();
          return !over();
        });
    following_ = false;
    if (over()) return told;
    if (!streamed) {
      refuseIfFinal(streamed.error());
      // Who asks for the lists meets an engine that is away, too, and says so.
      if (streamed.error().status != kExitUnreachable) tell(streamed.error().message);
    } else if (streamed->how == ApiClient::Streamed::Refused) {
      tell(streamed->why);
    }
    return told;
  }

  /// Says once that lists are asked for instead of following.
  void tell(const std::string& why) {
    const bool told_before = !note_.empty();
    note_ = "the engine's events cannot be followed: " + why + "; asking every " +
            formatDuration(interval_) + " instead";
    if (live_ || told_before || refused_) return;
    std::fprintf(stderr, "vmsctl: %s\n", printable(note_).c_str());
  }

  void refuseIfFinal(const Failure& failure) {
    if (failure.status == kExitNotAuthorised) refused_ = failure;
  }

  bool over() const {
    return done_ || refused_ || interrupted() || api_.clock().now() >= deadline_;
  }

  /// Shows what is due.
  void tend() {
    if (over()) return;
    const TimePoint now = api_.clock().now();
    const bool due = now - viewed_at_ >= interval_;
    if (!due && !(live_ && undrawn_ && following_ && now - shown_at_ >= kDrawEvery)) return;
    if (due) {
      // What the stream does not tell changes slowly by itself.
      if (!following_ || changed_ || problem_ || now - asked_at_ >= kAskAtLeast)
        problem_ = whyNot(ask());
      if (problem_) refuseIfFinal(*problem_);
      if (over()) return;
      nextView();
      return;
    }
    show();
  }

  static std::optional<Failure> whyNot(const Outcome<void>& asked) {
    return asked ? std::nullopt : std::optional<Failure>(asked.error());
  }

  Outcome<void> ask() {
    changed_ = false;
    auto hosts = rowsOf(api_.get("/v1/hosts"), "hosts");
    if (!hosts) return hosts.error();
    hosts_ = std::move(*hosts);
    if (!following_) {
      auto requests = api_.getAll("/v1/requests", {}, "requests", kRequestsAsked);
      if (!requests) return requests.error();
      requests_ = std::move(*requests);
    }
    Query failed;
    failed.emplace_back("outcome", "failed");
    auto failures = api_.getAll("/v1/history", failed, "attempts", kFailuresAsked);
    if (!failures) return failures.error();
    failures_ = std::move(*failures);
    asked_at_ = api_.clock().now();
    return {};
  }

  /// One of those that are counted.
  void nextView() {
    viewed_at_ = api_.clock().now();
    show();
    if (++views_ == count_) done_ = true;
  }

  void show() {
    shown_at_ = api_.clock().now();
    undrawn_ = false;
    // While the engine is away, the last that it told.
    const bool told = following_ || (problem_ && model_.whole());
    const json::object view =
        watchView(api_.clock().wallNow(), told ? model_.hosts(hosts_) : hosts_,
                  told ? model_.requests() : requests_, failures_);
    if (live_) {
      // The size may have changed.
      const Screen screen = screenOf(STDOUT_FILENO, settings_.colour());
      put("\x1b[H" + watchScreen(view, screen, problem_ ? problem_->message : note_) + "\x1b[J");
    } else if (problem_) {
      std::fprintf(stderr, "vmsctl: %s\n", printable(problem_->message).c_str());
    } else if (settings_.format() == Output::Table) {
      put(watchLine(view) + "\n");
    } else {
      put(json::serialize(view) + "\n");
    }
    done_ = done_ || flushOutput() != 0;
  }

  ApiClient& api_;
  const Settings& settings_;
  const std::size_t count_;
  const Duration interval_;
  const TimePoint deadline_;
  const bool live_;

  WatchModel model_;
  bool following_ = false;  ///< What the model knows is the newest.
  bool changed_ = false;    ///< Since the lists were asked for.
  bool undrawn_ = false;    ///< Since the last view.
  json::array hosts_, requests_, failures_;
  std::string note_;                ///< Why nothing is followed.
  std::optional<Failure> problem_;  ///< Why there is no newer view.
  std::optional<Failure> refused_;  ///< Why it cannot go on.
  std::size_t views_ = 0;
  bool done_ = false;
  TimePoint asked_at_, viewed_at_, shown_at_;
};

Outcome<int> watch(const Settings& settings, const WatchOptions& options) {
  const auto interval = parseDuration(options.interval);
  if (!interval || *interval < kIntervalMin || *interval > kIntervalMax) {
    return Failure(kExitUsage, "--interval '" + options.interval +
                                   "' is no time from 100ms to 1h; give one as 2s");
  }
  auto api = ApiClient::open(settings);
  if (!api) return api.error();
  const TimePoint deadline = deadlineOf(settings, api->clock());
  catchInterrupts();
  return Watcher(*api, settings, options, *interval, deadline).run();
}

}  // namespace

void addWatchCommand(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("watch", "Show hosts, queue and recent failures, live");
  auto options = std::make_shared<WatchOptions>();
  command
      ->add_option("--interval", options->interval, "Time between views, 100ms to 1h; default 2s")
      ->type_name("TIME");
  command->add_option("--count", options->count, "End after so many views; default: never")
      ->type_name("N")
      ->check(CLI::Range(1, 1'000'000'000));
  describe(
      *command,
      "It follows the engine's events: on a terminal changes are shown as they come, beside the\n"
      "views that --interval asks for. While the events cannot be followed it says why and asks\n"
      "for each view instead; it waits for an engine that is away and goes on where it was. "
      "Ctrl-C\n"
      "ends it and brings the terminal back. Without a terminal each view is one line, with\n"
      "--output json, ndjson or csv one JSON object in a line.",
      {"vmsctl watch", "vmsctl watch --interval 10s --output ndjson >> watch.log"});
  command->callback([&action, options]() {
    action = [options](const Settings& settings) { return watch(settings, *options); };
  });
}

}  // namespace vms::runner::ctl
