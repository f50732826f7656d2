#include <gtest/gtest.h>

#include "batcher/retry_policy.h"

namespace vms::batcher {
namespace {

using Kind = RetryDecision::Kind;

class RetryTest : public testing::Test {
 protected:
  RetryDecision decide(ErrorClass error_class, RunReason reason = RunReason::User,
                       std::uint32_t tries = 0, std::uint32_t soon = 0) {
    return decideRetry(error_class, reason, tries, soon, options, rng);
  }
  RetryOptions options;
  Rng rng{7};
};

TEST_F(RetryTest, WhatCanNeverWorkFails) {
  EXPECT_EQ(decide(ErrorClass::Invalid).kind, Kind::Fail);
  EXPECT_EQ(decide(ErrorClass::Foreign).kind == Kind::Retry, false);
}

TEST_F(RetryTest, ARejectedCreateGoesToAnotherHostAtMostThreeTimes) {
  for (std::uint32_t tries = 0; tries + 1 < options.max_tries; ++tries) {
    const RetryDecision decision = decide(ErrorClass::HostRejected, RunReason::User, tries);
    EXPECT_EQ(decision.kind, Kind::Retry);
    EXPECT_TRUE(decision.counted);
    EXPECT_TRUE(decision.avoid_host);
    EXPECT_GT(decision.delay, Duration{});
  }
  EXPECT_EQ(decide(ErrorClass::HostRejected, RunReason::User, options.max_tries - 1).kind,
            Kind::Fail);
}

TEST_F(RetryTest, HaIsHeldWithSlowRetriesInsteadOfFailing) {
  const RetryDecision decision =
      decide(ErrorClass::HostRejected, RunReason::Ha, options.max_tries + 20);
  EXPECT_EQ(decision.kind, Kind::Hold);
  EXPECT_GT(decision.delay, Duration{});
  EXPECT_LE(decision.delay, options.ha_cap);
}

TEST_F(RetryTest, AHostThatIsNotReadyIsNobodysFault) {
  const RetryDecision decision = decide(ErrorClass::HostNotReady);
  EXPECT_EQ(decision.kind, Kind::Retry);
  EXPECT_FALSE(decision.counted);
  EXPECT_FALSE(decision.avoid_host);
}

TEST_F(RetryTest, UncountedRetriesAreBoundedForUsers) {
  EXPECT_EQ(decide(ErrorClass::RateLimited, RunReason::User, 0, options.max_soon_tries).kind,
            Kind::Fail);
  EXPECT_EQ(decide(ErrorClass::RateLimited, RunReason::Ha, 0, options.max_soon_tries).kind,
            Kind::Retry);
}

TEST_F(RetryTest, AnUnknownOutcomeIsOnlyAsked) {
  EXPECT_EQ(decide(ErrorClass::UnknownOutcome).kind, Kind::Ask);
}

TEST_F(RetryTest, BackoffDoublesIsCappedAndJittered) {
  options.max_tries = 100;
  Duration widest{};
  for (std::uint32_t tries = 0; tries < 60; ++tries) {
    const RetryDecision decision = decide(ErrorClass::HostRejected, RunReason::User, tries);
    widest = std::max(widest, decision.delay);
    EXPECT_LE(decision.delay, options.cap);
  }
  EXPECT_GT(widest, options.cap / 2);
  bool differs = false;
  const Duration first = decide(ErrorClass::HostRejected, RunReason::User, 4).delay;
  for (int i = 0; i < 10; ++i) {
    differs = differs || decide(ErrorClass::HostRejected, RunReason::User, 4).delay != first;
  }
  EXPECT_TRUE(differs) << "a herd of runs must not retry in step";
}

}  // namespace
}  // namespace vms::batcher
