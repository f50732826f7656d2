#include <gtest/gtest.h>

#include <vector>

#include "batcher/ready_queue.h"

namespace vms::batcher {
namespace {

using Verdict = ReadyQueue::Verdict;

RunId run(int n) {
  RunId id;
  id.uuid.bytes[15] = static_cast<std::uint8_t>(n);
  return id;
}
TimePoint at(int s) { return {seconds(s)}; }

std::vector<int> takeAll(ReadyQueue& queue) {
  std::vector<int> order;
  queue.drain([&](RunId id) {
    order.push_back(id.uuid.bytes[15]);
    return Verdict::Take;
  });
  return order;
}

TEST(ReadyQueue, HaBeforeRerunBeforeUser) {
  QueueOptions options;
  options.guaranteed_share = 0;
  ReadyQueue queue(options);
  queue.push(run(1), RunReason::User, 100, at(0));
  queue.push(run(2), RunReason::Rerun, 50, at(5));
  queue.push(run(3), RunReason::Ha, 0, at(9));
  EXPECT_EQ(takeAll(queue), (std::vector<int>{3, 2, 1}));
}

TEST(ReadyQueue, PriorityThenAge) {
  ReadyQueue queue;
  queue.push(run(1), RunReason::User, 50, at(0));
  queue.push(run(2), RunReason::User, 60, at(3));
  queue.push(run(3), RunReason::User, 50, at(1));
  EXPECT_EQ(takeAll(queue), (std::vector<int>{2, 1, 3}));
}

TEST(ReadyQueue, AgeOutweighsPriorityInTheEnd) {
  ReadyQueue queue;
  queue.push(run(1), RunReason::User, 50, at(0));
  queue.push(run(2), RunReason::User, 51, at(31));  // One point is worth 30 s of waiting.
  EXPECT_EQ(takeAll(queue), (std::vector<int>{1, 2}));
}

TEST(ReadyQueue, UserRunsKeepAShareUnderAStormOfHa) {
  ReadyQueue queue;
  for (int i = 1; i <= 40; ++i) queue.push(run(i), RunReason::Ha, 50, at(0));
  for (int i = 101; i <= 104; ++i) queue.push(run(i), RunReason::User, 50, at(0));
  const std::vector<int> order = takeAll(queue);
  int users_in_first_half = 0;
  for (std::size_t i = 0; i < order.size() / 2; ++i) users_in_first_half += order[i] > 100;
  EXPECT_GE(users_in_first_half, 2);
  EXPECT_EQ(order.front(), 1) << "HA still goes first";
}

TEST(ReadyQueue, SkippedRunsKeepTheirPlaceAndStopEndsThePass) {
  ReadyQueue queue;
  for (int i = 1; i <= 4; ++i) queue.push(run(i), RunReason::User, 50, at(i));
  std::vector<int> offered;
  queue.drain([&](RunId id) {
    offered.push_back(id.uuid.bytes[15]);
    if (offered.size() == 1) return Verdict::Skip;
    return offered.size() == 3 ? Verdict::Stop : Verdict::Take;
  });
  EXPECT_EQ(offered, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(takeAll(queue), (std::vector<int>{1, 3, 4}));
  EXPECT_TRUE(queue.empty());
}

TEST(ReadyQueue, TheCallbackMayQueueOthersAgain) {
  ReadyQueue queue;
  queue.push(run(1), RunReason::User, 50, at(1));
  queue.push(run(2), RunReason::User, 50, at(2));
  int offers = 0;
  queue.drain([&](RunId id) {
    ++offers;
    if (id == run(1)) {
      EXPECT_TRUE(queue.remove(run(2)));
      queue.push(run(3), RunReason::User, 50, at(3));
    }
    return Verdict::Take;
  });
  EXPECT_EQ(offers, 2);
  EXPECT_TRUE(queue.empty());
}

TEST(ReadyQueue, RemoveTellsWhetherItWasThere) {
  ReadyQueue queue;
  queue.push(run(1), RunReason::User, 50, at(0));
  EXPECT_TRUE(queue.contains(run(1)));
  EXPECT_TRUE(queue.remove(run(1)));
  EXPECT_FALSE(queue.remove(run(1)));
}

}  // namespace
}  // namespace vms::batcher
