#include <gtest/gtest.h>

#include "batcher/placement.h"
#include "schema/base/memory_size.h"

namespace vms::batcher {
namespace {

AttemptId attempt(int n) {
  AttemptId id;
  id.uuid.bytes[15] = static_cast<std::uint8_t>(n);
  return id;
}

HostFacts facts(std::uint32_t cpus, std::uint64_t memory) {
  HostFacts result;
  result.cpus = cpus;
  result.memory = memory;
  result.schedulable = true;
  result.credits = 100;
  result.lane_width = cpus;
  return result;
}

PlacementQuery query(std::uint64_t memory, std::uint32_t vcpus = 1) {
  PlacementQuery result;
  result.demand = {memory, vcpus};
  return result;
}

class PlacementTest : public testing::Test {
 protected:
  Placement placeNow(const PlacementQuery& q) {
    return place(q, inventory, penalties, TimePoint{}, limits);
  }
  Inventory inventory;
  PenaltyBook penalties;
  PlacementLimits limits;
};

TEST_F(PlacementTest, MemoryIsNeverOvercommitted) {
  inventory.setFacts("h1", facts(2, 4 * kGiB));
  inventory.reserve("h1", attempt(1), {3 * kGiB, 1});
  EXPECT_EQ(placeNow(query(kGiB)).kind, Placement::Kind::Fits);
  const Placement full = placeNow(query(kGiB + 1));
  EXPECT_EQ(full.kind, Placement::Kind::NoCapacity);
  EXPECT_NE(full.why.find("h1"), std::string::npos) << full.why;
}

TEST_F(PlacementTest, VcpusAreOvercommittedUpToTheRatio) {
  limits.vcpu_ratio = 2.0;
  inventory.setFacts("h1", facts(2, 4 * kGiB));
  inventory.reserve("h1", attempt(1), {kMiB, 3});
  EXPECT_EQ(placeNow(query(kMiB, 1)).kind, Placement::Kind::Fits);
  EXPECT_EQ(placeNow(query(kMiB, 2)).kind, Placement::Kind::NoCapacity);
}

TEST_F(PlacementTest, WhatNoHostCouldEverHoldIsImpossible) {
  inventory.setFacts("h1", facts(2, 4 * kGiB));
  inventory.setFacts("h2", facts(2, 2 * kGiB));
  const Placement result = placeNow(query(5 * kGiB));
  EXPECT_EQ(result.kind, Placement::Kind::Impossible);
  EXPECT_NE(result.why.find("h1"), std::string::npos) << "names the best host: " << result.why;
}

TEST_F(PlacementTest, SkipsHostsThatTakeNothingAndSaysWhy) {
  HostFacts draining = facts(2, 4 * kGiB);
  draining.schedulable = false;
  draining.why_not = "draining";
  inventory.setFacts("h1", draining);
  const Placement result = placeNow(query(kGiB));
  EXPECT_EQ(result.kind, Placement::Kind::NoCapacity);
  EXPECT_NE(result.why.find("draining"), std::string::npos) << result.why;
}

TEST_F(PlacementTest, AFullIntakeMeansWaitingNotHolding) {
  HostFacts busy = facts(2, 4 * kGiB);
  busy.credits = 1;
  inventory.setFacts("h1", busy);
  inventory.reserve("h1", attempt(1), {kMiB, 1});
  inventory.setPending("h1", attempt(1), true, true);
  EXPECT_EQ(placeNow(query(kMiB)).kind, Placement::Kind::Full);
  inventory.setPending("h1", attempt(1), true, false);
  EXPECT_EQ(placeNow(query(kMiB)).kind, Placement::Kind::Fits);
}

TEST_F(PlacementTest, SpreadsByLoadWithTiesToTheLowerName) {
  inventory.setFacts("h1", facts(2, 4 * kGiB));
  inventory.setFacts("h2", facts(2, 4 * kGiB));
  EXPECT_EQ(placeNow(query(kMiB)).host, "h1");
  inventory.reserve("h1", attempt(1), {kMiB, 1});
  inventory.setPending("h1", attempt(1), true, true);
  EXPECT_EQ(placeNow(query(kMiB)).host, "h2");
}

TEST_F(PlacementTest, HonoursOnlyAvoidAndRatherNot) {
  inventory.setFacts("h1", facts(2, 4 * kGiB));
  inventory.setFacts("h2", facts(2, 4 * kGiB));
  PlacementQuery q = query(kMiB);
  q.only = "h2";
  EXPECT_EQ(placeNow(q).host, "h2");
  q.only.reset();
  q.avoid = {"h1"};
  EXPECT_EQ(placeNow(q).host, "h2");
  q.avoid = {"h1", "h2"};
  EXPECT_EQ(placeNow(q).kind, Placement::Kind::NoCapacity);
  q.avoid.clear();
  q.rather_not = {"h1"};
  EXPECT_EQ(placeNow(q).host, "h2");
  q.rather_not = {"h1", "h2"};
  EXPECT_EQ(placeNow(q).kind, Placement::Kind::Fits) << "a host where it failed beats none";
}

TEST_F(PlacementTest, BlameOrdersAndDecaysButNeverExcludes) {
  inventory.setFacts("h1", facts(2, 4 * kGiB));
  inventory.setFacts("h2", facts(2, 4 * kGiB));
  penalties.blame("h1", ErrorClass::HostRejected, TimePoint{});
  EXPECT_EQ(placeNow(query(kMiB)).host, "h2");
  PlacementQuery only = query(kMiB);
  only.only = "h1";
  EXPECT_EQ(placeNow(only).kind, Placement::Kind::Fits);
  EXPECT_GT(penalties.of("h1", TimePoint{}), penalties.of("h1", {seconds(60)}));
  EXPECT_EQ(penalties.of("h1", {std::chrono::hours(1)}), 0.0);
  penalties.praise("h1");
  EXPECT_EQ(placeNow(query(kMiB)).host, "h1");
}

TEST(Inventory, UseIsTheUnionOfReservedAndListed) {
  Inventory inventory;
  inventory.setFacts("h1", facts(2, 8 * kGiB));
  inventory.reserve("h1", attempt(1), {kGiB, 1});
  EXPECT_EQ(inventory.find("h1")->memory_reserved, kGiB);

  ListedDomain same;
  same.attempt = attempt(1);
  same.demand = {kGiB, 1};
  ListedDomain foreign;
  foreign.foreign = true;
  foreign.key = "other";
  foreign.demand = {2 * kGiB, 4};
  inventory.setListed("h1", {same, foreign});
  EXPECT_EQ(inventory.find("h1")->memory_used, 3 * kGiB) << "listed and reserved counts once";
  EXPECT_EQ(inventory.find("h1")->memory_reserved, 0u);

  // Its end is the host's own word or a proof: an older list does not bring it back.
  inventory.release("h1", attempt(1));
  EXPECT_EQ(inventory.find("h1")->memory_used, 2 * kGiB);
  inventory.setListed("h1", {});
  EXPECT_EQ(inventory.find("h1")->memory_used, 0u);
}

TEST(Inventory, OneMoreListedDomainCountsLikeAWholeList) {
  Inventory inventory;
  inventory.setFacts("h1", facts(2, 8 * kGiB));
  inventory.reserve("h1", attempt(1), {kGiB, 1});
  ListedDomain larger;
  larger.attempt = attempt(1);
  larger.demand = {2 * kGiB, 2};
  ListedDomain unknown;
  unknown.attempt = attempt(2);
  unknown.demand = {kGiB, 1};
  for (const ListedDomain& one : {larger, unknown, unknown}) inventory.list("h1", one);
  const Inventory::Host one_by_one = *inventory.find("h1");
  inventory.setListed("h1", {larger, unknown});
  EXPECT_EQ(one_by_one.memory_used, 3 * kGiB);
  EXPECT_EQ(one_by_one.memory_used, inventory.find("h1")->memory_used);
  EXPECT_EQ(one_by_one.memory_reserved, inventory.find("h1")->memory_reserved);
  EXPECT_EQ(one_by_one.vcpus_used, inventory.find("h1")->vcpus_used);
  inventory.release("h1", attempt(1));
  EXPECT_EQ(inventory.find("h1")->memory_used, kGiB);
}

TEST(Inventory, AReservationOutlivesListsThatLackIt) {
  Inventory inventory;
  inventory.setFacts("h1", facts(2, 8 * kGiB));
  inventory.reserve("h1", attempt(1), {kGiB, 1});
  inventory.setListed("h1", {});
  EXPECT_EQ(inventory.find("h1")->memory_used, kGiB);
  inventory.release("h1", attempt(1));
  EXPECT_EQ(inventory.find("h1")->memory_used, 0u);
  inventory.release("h1", attempt(1));
  EXPECT_EQ(inventory.find("h1")->memory_used, 0u) << "releasing twice changes nothing";
}

}  // namespace
}  // namespace vms::batcher
