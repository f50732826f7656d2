#include "batcher/retry_policy.h"

#include <algorithm>

namespace vms::batcher {
namespace {

/// Exponential with full jitter in the upper half: in [base/2, base].
Duration backoff(Duration first, Duration cap, std::uint32_t steps, Rng& rng) {
  Duration delay = first;
  for (std::uint32_t i = 0; i < steps && delay < cap; ++i) delay *= 2;
  delay = std::min(delay, cap);
  return rng.between(delay / 2, delay);
}

}  // namespace

RetryDecision decideRetry(ErrorClass error_class, RunReason reason, std::uint32_t tries,
                          std::uint32_t soon_tries, const RetryOptions& options, Rng& rng) {
  using Kind = RetryDecision::Kind;
  const bool ha = reason == RunReason::Ha;
  RetryDecision decision;
  switch (traitsOf(error_class).retry) {
    case RetryRule::Never:
      return decision;
    case RetryRule::AskHost:
      decision.kind = Kind::Ask;
      return decision;
    case RetryRule::Hold:
      decision.kind = Kind::Hold;
      decision.delay = backoff(options.first, ha ? options.ha_cap : options.cap, soon_tries, rng);
      return decision;
    case RetryRule::Soon:
    case RetryRule::SameOrOther:
      if (!ha && soon_tries + 1 >= options.max_soon_tries) return decision;
      decision.kind = Kind::Retry;
      decision.delay = backoff(options.soon, options.cap, soon_tries, rng);
      return decision;
    case RetryRule::OtherHost:
      decision.counted = true;
      decision.avoid_host = true;
      if (tries + 1 >= options.max_tries) {
        if (!ha) return decision;
        decision.kind = Kind::Hold;
        decision.delay = backoff(options.cap, options.ha_cap, tries + 1 - options.max_tries, rng);
        return decision;
      }
      decision.kind = Kind::Retry;
      decision.delay = backoff(options.first, options.cap, tries, rng);
      return decision;
  }
  return decision;
}

}  // namespace vms::batcher
