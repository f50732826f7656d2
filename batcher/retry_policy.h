#pragma once

#include <cstdint>

#include "schema/base/error.h"
#include "schema/base/rng.h"
#include "schema/base/time.h"
#include "schema/run_state.h"

namespace vms::batcher {

struct RetryOptions {
  std::uint32_t max_tries = 3;  ///< Hosts per user run.
  Duration soon = milliseconds(200);
  Duration first = milliseconds(500);  ///< Back-off after the first counted try; doubles.
  Duration cap = seconds(30);
  Duration ha_cap = std::chrono::minutes(5);
  std::uint32_t max_soon_tries = 30;  ///< Uncounted retries of a user run in a row.
};

struct RetryDecision {
  enum class Kind {
    Fail,   ///< The run ends as failed.
    Retry,  ///< Queued again after `delay`.
    Hold,   ///< Held, and tried again after `delay` at the latest.
    Ask,    ///< Nothing: the host will say.
  };
  Kind kind = Kind::Fail;
  Duration delay{};
  bool counted = false;     ///< Uses up one of the run's tries.
  bool avoid_host = false;  ///< Prefer another host.
};

/// What follows when an attempt of a run ended with `error_class`, after `tries` counted and
/// `soon_tries` uncounted ones. Pure but for the jitter drawn from `rng`.
RetryDecision decideRetry(ErrorClass error_class, RunReason reason, std::uint32_t tries,
                          std::uint32_t soon_tries, const RetryOptions& options, Rng& rng);

}  // namespace vms::batcher
