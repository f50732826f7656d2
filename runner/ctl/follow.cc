#include "runner/ctl/follow.h"

#include <unistd.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <optional>

#include "runner/ctl/interrupt.h"
#include "runner/ctl/progress.h"
#include "schema/base/json.h"

namespace vms::runner::ctl {
namespace {

constexpr Duration kRetryMin = milliseconds(100);
constexpr Duration kRetryMax = seconds(2);

/// One connection after another, and what has been learned over all of them.
class Follower {
 public:
  Follower(ApiClient& api, const Settings& settings, const Follow& follow)
      : api_(api),
        request_id_(follow.request_id),
        deadline_(follow.deadline),
        accepted_(follow.accepted),
        each_state_(follow.each_state),
        progress_(follow.started),
        printer_(screenOf(STDERR_FILENO, settings.colour())) {}

  /// Until the request is finished. Unreachable only when it never was reached.
  Outcome<void> run() {
    const std::string target = "/v1/requests/" + encode(request_id_) + "/events";
    Duration pause_for = kRetryMin;
    for (;;) {
      got_event_ = false;
      const auto streamed = api_.events(
          target, "", [this](const SseEvent& event) { return onEvent(event); },
          [this]() { return onTick(); });
      if (progress_.finished()) {
        printer_.finish(progress_, api_.clock().now());
        return {};
      }
      if (gone_) {
        return Failure(kExitFailed, "request " + request_id_ +
                                        " is no longer known; see 'vmsctl history --request'");
      }
      if (interrupted()) return interruptedHere();
      if (flushOutput() != 0) return {};  // Told at the end.
      if (late()) return timedOut();
      if (!streamed &&
          (streamed.error().status != kExitUnreachable || !(progress_.known() || accepted_))) {
        return streamed.error();
      }
      if (got_event_) pause_for = kRetryMin;
      if (!streamed && !told_lost_) {
        told_lost_ = true;
        printer_.note("the engine is away; waiting for it to come back");
      }
      api_.pause(std::min(pause_for, std::max(Duration::zero(), deadline_ - api_.clock().now())));
      pause_for = std::min(pause_for * 2, kRetryMax);
      if (interrupted()) return interruptedHere();
      if (late()) return timedOut();
    }
  }

  const Progress& progress() const { return progress_; }

 private:
  bool late() const { return api_.clock().now() >= deadline_; }

  Failure interruptedHere() {
    printer_.finish(progress_, api_.clock().now());
    return Failure(kExitInterrupted, "interrupted: request " + request_id_ +
                                         " goes on; watch it with 'vmsctl request watch " +
                                         request_id_ + "' or end it with 'vmsctl request cancel " +
                                         request_id_ + "'");
  }

  Failure timedOut() {
    printer_.finish(progress_, api_.clock().now());
    return Failure(kExitTimeout, "request " + request_id_ +
                                     " is not finished when --timeout ends; it goes on, see "
                                     "'vmsctl request watch " +
                                     request_id_ + "'");
  }

  bool onEvent(const SseEvent& event) {
    if (event.event == "gone") {
      gone_ = true;
      return false;
    }
    if (event.event != "snapshot" && event.event != "delta") return true;
    JsonLimits limits;
    limits.max_bytes = event.data.size();
    const auto data = parseJson(event.data, "event", limits);
    if (!data || !data->is_object()) return true;
    got_event_ = true;
    told_lost_ = false;
    const TimePoint now = api_.clock().now();
    progress_.merge(data->get_object(), now);
    if (each_state_) {
      put(json::serialize(progress_.view()) + "\n");
      if (flushOutput() != 0) return false;
    }
    printer_.show(progress_, now);
    return !progress_.finished();
  }

  bool onTick() {
    if (!told_lost_) printer_.show(progress_, api_.clock().now());
    return !late() && !interrupted();
  }

  ApiClient& api_;
  const std::string request_id_;
  const TimePoint deadline_;
  const bool accepted_;
  const bool each_state_;
  Progress progress_;
  ProgressPrinter printer_;
  bool got_event_ = false;
  bool told_lost_ = false;
  bool gone_ = false;
};

}  // namespace

TimePoint deadlineOf(const Settings& settings, const Clock& clock) {
  const auto limit = settings.timeLimit();
  return limit ? clock.now() + *limit : TimePoint::max();
}

Outcome<int> followRequest(ApiClient& api, const Settings& settings, const Follow& follow) {
  catchInterrupts();
  Follower follower(api, settings, follow);
  const auto done = follower.run();
  const Progress& progress = follower.progress();
  if (!done && !progress.known()) return done.error();
  // The message says it all.
  if (!done && done.error().status == kExitInterrupted) return done.error();
  if (settings.format() == Output::Table) {
    const std::string summary = progress.summary(api.clock().now());
    put(summary);
  } else if (!follow.each_state) {
    printObject(settings, progress.view());
  }
  if (!done) return done.error();
  return progress.succeeded() ? kExitOk : kExitFailed;
}

}  // namespace vms::runner::ctl
