#include <gtest/gtest.h>

#include "hostagent/lanes.h"
#include "hostagent/staging_area.h"
#include "tests/unit/agent_bench.h"

namespace vms::hostagent {
namespace {

AttemptId attempt(std::uint8_t number) { return AgentBench::ref(number).attempt; }

TEST(Lane, StartsByPriorityThenSizeThenAge) {
  Lane lane(1);
  lane.push({attempt(1), 5, 100});
  lane.push({attempt(2), 9, 10});
  lane.push({attempt(3), 9, 50});
  lane.push({attempt(4), 9, 50});
  std::vector<AttemptId> order;
  while (const auto job = lane.start()) {
    order.push_back(job->attempt);
    EXPECT_FALSE(lane.start().has_value()) << "the only slot is taken";
    lane.finish();
  }
  EXPECT_EQ(order, (std::vector{attempt(3), attempt(4), attempt(2), attempt(1)}));
}

TEST(Lane, LetsInWhatFindsAFreeSlotInTheQueuesOrder) {
  Lane lane(3);
  lane.push({attempt(9), 0, 1});
  ASSERT_TRUE(lane.start().has_value());
  const std::vector<LaneJob> jobs = {
      {attempt(1), 0, 100}, {attempt(2), 0, 200}, {attempt(3), 5, 1}, {attempt(4), 0, 200}};
  const std::vector<LaneJob> in = lane.enter(jobs);
  ASSERT_EQ(in.size(), 2U);
  EXPECT_EQ(in[0].attempt, attempt(3));
  EXPECT_EQ(in[1].attempt, attempt(2)) << "of equals the first";
  EXPECT_EQ(lane.busy(), 3U);
  EXPECT_TRUE(lane.enter(jobs).empty()) << "no slot is free";
}

TEST(Lane, LetsNothingOvertakeWhatWaits) {
  Lane lane(2);
  lane.push({attempt(1), 0, 1});
  EXPECT_TRUE(lane.enter({{attempt(2), 9, 100}}).empty());
  EXPECT_EQ(lane.start()->attempt, attempt(1));
  EXPECT_EQ(lane.enter({{attempt(2), 9, 100}}).size(), 1U);
}

TEST(Lane, NeverStartsWhatWasWithdrawn) {
  Lane lane(2);
  lane.push({attempt(1), 0, 1});
  lane.push({attempt(1), 0, 1});
  EXPECT_EQ(lane.queued(), 1U);
  EXPECT_TRUE(lane.withdraw(attempt(1)));
  EXPECT_FALSE(lane.withdraw(attempt(1)));
  EXPECT_FALSE(lane.start().has_value());
  EXPECT_EQ(lane.busy(), 0U);
}

TEST(StagingArea, KeepsBothViewsApartAndReservesNames) {
  StagingArea area;
  const AttemptRef one = AgentBench::ref(1);
  const AttemptRef two = AgentBench::ref(2);
  area.reserve(one, "web", 1, 1);
  EXPECT_FALSE(area.holderOfName("web", one.vm));
  EXPECT_EQ(area.holderOfName("web", two.vm), one);
  for (const StagingState step :
       {StagingState::Preparing, StagingState::Building, StagingState::Launched}) {
    area.advance(one.attempt, step);
    EXPECT_EQ(area.stagedCount(), 1U);
    EXPECT_TRUE(area.published().empty());
  }
  area.advance(one.attempt, StagingState::Published);
  EXPECT_EQ(area.stagedCount(), 0U);
  EXPECT_TRUE(area.staged().empty());
  EXPECT_EQ(area.published().size(), 1U);
  area.advance(one.attempt, StagingState::Discarded);
  EXPECT_FALSE(area.holderOfName("web", two.vm));
  area.forget(one.attempt);
  EXPECT_EQ(area.find(one.attempt), nullptr);
}

TEST(StagingArea, AllowsOnlyTheDocumentedSteps) {
  using S = StagingState;
  EXPECT_TRUE(mayFollow(S::Claimed, S::Preparing));
  EXPECT_TRUE(mayFollow(S::Building, S::Discarded));
  EXPECT_FALSE(mayFollow(S::Claimed, S::Published));
  EXPECT_FALSE(mayFollow(S::Published, S::Launched));
  EXPECT_FALSE(mayFollow(S::Discarded, S::Claimed));
  EXPECT_FALSE(mayFollow(S::Claimed, S::Claimed));
}

}  // namespace
}  // namespace vms::hostagent
