#include <gtest/gtest.h>

#include "batcher/batch_window.h"

namespace vms::batcher {
namespace {

TimePoint at(int ms) { return {milliseconds(ms)}; }

WindowPolicy policy(WindowPolicy::Mode mode) {
  WindowPolicy result;
  result.mode = mode;
  result.fixed = milliseconds(50);
  result.max_items = 4;
  result.max_bytes = 1'000;
  return result;
}

TEST(BatchWindow, EmptyNeverCloses) {
  BatchWindow window(policy(WindowPolicy::Mode::Adaptive));
  EXPECT_FALSE(window.closesAt(at(0)));
}

TEST(BatchWindow, LoneCommandLeavesAtOnce) {
  BatchWindow window(policy(WindowPolicy::Mode::Adaptive));
  window.add(at(7), 10, std::nullopt);
  EXPECT_EQ(window.closesAt(at(7)), at(7));
}

TEST(BatchWindow, GathersWhileAMessageIsInFlightUntilItsAcceptance) {
  BatchWindow window(policy(WindowPolicy::Mode::Adaptive));
  window.add(at(0), 10, std::nullopt);
  window.sent(at(0), 1, 10);
  window.add(at(1), 10, std::nullopt);
  ASSERT_TRUE(window.closesAt(at(1)));
  EXPECT_GT(*window.closesAt(at(1)), at(1));
  window.accepted(at(3));
  EXPECT_LE(*window.closesAt(at(3)), at(3));
}

TEST(BatchWindow, ALateAcceptanceHoldsNothingBeyondTheBound) {
  WindowPolicy p = policy(WindowPolicy::Mode::Adaptive);
  p.max_delay = milliseconds(20);
  BatchWindow window(p);
  // A slow peer: messages cost 100 ms each, far above the bound.
  for (int i = 0; i < 50; ++i) {
    window.add(at(i * 100), 1, std::nullopt);
    window.sent(at(i * 100), 1, 1);
    window.accepted(at(i * 100 + 100));
  }
  EXPECT_GT(window.messageCost(), milliseconds(50));
  window.add(at(10'000), 1, std::nullopt);
  window.sent(at(10'000), 1, 1);
  window.add(at(10'001), 1, std::nullopt);
  EXPECT_EQ(window.closesAt(at(10'001)), at(10'021));
}

TEST(BatchWindow, ClosesEarlyAtItemLimitByteLimitAndDeadline) {
  BatchWindow items(policy(WindowPolicy::Mode::Fixed));
  for (int i = 0; i < 3; ++i) items.add(at(0), 1, std::nullopt);
  EXPECT_EQ(items.closesAt(at(0)), at(50));
  items.add(at(0), 1, std::nullopt);
  EXPECT_EQ(items.closesAt(at(0)), at(0));

  BatchWindow bytes(policy(WindowPolicy::Mode::Fixed));
  bytes.add(at(0), 1'000, std::nullopt);
  EXPECT_EQ(bytes.closesAt(at(0)), at(0));

  BatchWindow deadline(policy(WindowPolicy::Mode::Fixed));
  deadline.add(at(0), 1, at(30));
  deadline.add(at(0), 1, at(20));
  EXPECT_EQ(deadline.closesAt(at(0)), at(20));
}

TEST(BatchWindow, OffSendsOneByOne) {
  BatchWindow window(policy(WindowPolicy::Mode::Off));
  window.add(at(0), 1, std::nullopt);
  window.add(at(0), 1, std::nullopt);
  EXPECT_EQ(window.batchLimit(), 1u);
  window.sent(at(0), 1, 1);
  EXPECT_EQ(window.closesAt(at(0)), at(0));
}

TEST(BatchWindow, LostLinkForgetsWhatWasInFlight) {
  BatchWindow window(policy(WindowPolicy::Mode::Adaptive));
  window.add(at(0), 1, std::nullopt);
  window.sent(at(0), 1, 1);
  window.linkLost();
  window.add(at(5), 1, std::nullopt);
  EXPECT_EQ(window.closesAt(at(5)), at(5));
}

TEST(BatchWindow, WithdrawnCommandsLeaveAnEmptyWindow) {
  BatchWindow window(policy(WindowPolicy::Mode::Fixed));
  window.add(at(0), 1, at(10));
  window.remove(1);
  EXPECT_FALSE(window.closesAt(at(0)));
  window.add(at(100), 1, std::nullopt);
  EXPECT_EQ(window.closesAt(at(100)), at(150)) << "the old deadline is gone";
}

}  // namespace
}  // namespace vms::batcher
