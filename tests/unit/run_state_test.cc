#include "schema/run_state.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "schema/ids.h"

namespace vms {
namespace {

constexpr int kRunStates = static_cast<int>(RunState::Cancelled) + 1;
constexpr int kAttemptStates = static_cast<int>(AttemptState::Ended) + 1;

TEST(RunState, NoStateFollowsItselfAndNoneAFinalOne) {
  for (int from = 0; from < kRunStates; ++from) {
    const auto state = static_cast<RunState>(from);
    EXPECT_FALSE(mayFollow(state, state)) << nameOf(state);
    for (int to = 0; to < kRunStates; ++to) {
      EXPECT_FALSE(isFinal(state) && mayFollow(state, static_cast<RunState>(to)));
    }
  }
  for (int from = 0; from < kAttemptStates; ++from) {
    const auto state = static_cast<AttemptState>(from);
    EXPECT_FALSE(mayFollow(state, state)) << nameOf(state);
    for (int to = 0; to < kAttemptStates; ++to) {
      EXPECT_FALSE(isFinal(state) && mayFollow(state, static_cast<AttemptState>(to)));
    }
  }
}

TEST(RunState, EveryOpenStateLeadsToAnEnd) {
  for (int from = 0; from < kRunStates; ++from) {
    const auto state = static_cast<RunState>(from);
    if (isFinal(state)) continue;
    EXPECT_TRUE(mayFollow(state, RunState::Failed)) << nameOf(state);
    EXPECT_TRUE(mayFollow(state, RunState::Succeeded)) << nameOf(state);
  }
}

TEST(RunState, WhatIsReadyOrOverIsNotCancelled) {
  for (int from = 0; from < kRunStates; ++from) {
    const auto state = static_cast<RunState>(from);
    const bool too_late = state == RunState::Ready || isFinal(state);
    EXPECT_EQ(mayFollow(state, RunState::Cancelled), !too_late) << nameOf(state);
  }
}

TEST(AttemptState, WhatWasNeverSentIsOnlyDroppedOrDoubted) {
  for (int to = 0; to < kAttemptStates; ++to) {
    const auto state = static_cast<AttemptState>(to);
    const bool legal = state == AttemptState::Sent || state == AttemptState::Unknown ||
                       state == AttemptState::Dropped;
    EXPECT_EQ(mayFollow(AttemptState::Placed, state), legal) << nameOf(state);
  }
}

TEST(AttemptState, WhatWasSentIsNeverDroppedAndNeverUnsent) {
  for (int from = static_cast<int>(AttemptState::Sent); from < kAttemptStates; ++from) {
    const auto state = static_cast<AttemptState>(from);
    EXPECT_FALSE(mayFollow(state, AttemptState::Dropped)) << nameOf(state);
    EXPECT_FALSE(mayFollow(state, AttemptState::Placed)) << nameOf(state);
    EXPECT_FALSE(mayFollow(state, AttemptState::Sent)) << nameOf(state);
  }
}

TEST(AttemptState, SilenceIsPossibleWhereverTheHostHasTheWord) {
  for (const AttemptState state : {AttemptState::Sent, AttemptState::Staged, AttemptState::Building,
                                   AttemptState::Running, AttemptState::Ready}) {
    EXPECT_TRUE(mayFollow(state, AttemptState::Unknown)) << nameOf(state);
    EXPECT_TRUE(mayFollow(state, AttemptState::Ended)) << nameOf(state);
  }
}

TEST(AttemptState, WhatRanEndsButDoesNotFail) {
  EXPECT_FALSE(mayFollow(AttemptState::Running, AttemptState::Failed));
  EXPECT_FALSE(mayFollow(AttemptState::Ready, AttemptState::Failed));
  EXPECT_FALSE(mayFollow(AttemptState::Staged, AttemptState::Refused));
}

TEST(StateNames, ParseBackAndNothingElseParses) {
  for (int i = 0; i < kRunStates; ++i) {
    const auto state = static_cast<RunState>(i);
    EXPECT_EQ(parseRunState(nameOf(state)), state);
  }
  for (int i = 0; i < kAttemptStates; ++i) {
    const auto state = static_cast<AttemptState>(i);
    EXPECT_EQ(parseAttemptState(nameOf(state)), state);
  }
  for (int i = 0; i <= static_cast<int>(Proof::Confirmed); ++i) {
    const auto proof = static_cast<Proof>(i);
    EXPECT_EQ(parseProof(nameOf(proof)), proof);
  }
  for (int i = 0; i <= static_cast<int>(RunReason::Rerun); ++i) {
    const auto reason = static_cast<RunReason>(i);
    EXPECT_EQ(parseRunReason(nameOf(reason)), reason);
  }
  EXPECT_EQ(parseRunState("Queued"), std::nullopt);
  EXPECT_EQ(parseAttemptState(""), std::nullopt);
  EXPECT_EQ(parseProof("fenced "), std::nullopt);
  EXPECT_EQ(parseRunReason("users"), std::nullopt);
}

TEST(HostId, AcceptsCertificateNamesOnly) {
  for (const std::string good : {"a", "host-1", "h1.example.org", "0"}) {
    EXPECT_TRUE(isValidHostId(good)) << good;
  }
  for (const std::string bad : {"", "-a", "a-", ".a", "a.", "Host", "a_b", "a b", "a/b", "ä"}) {
    EXPECT_FALSE(isValidHostId(bad)) << bad;
  }
  EXPECT_TRUE(isValidHostId(std::string(64, 'x')));
  EXPECT_FALSE(isValidHostId(std::string(65, 'x')));
  EXPECT_FALSE(isValidHostId(std::string("a\0b", 3)));
}

}  // namespace
}  // namespace vms
