#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <variant>
#include <vector>

#include "schema/frames.h"
#include "tests/unit/agent_bench.h"

namespace vms::hostagent {
namespace {

using proto::Outcome;

class AgentSession : public ::testing::Test {
 protected:
  void begin() {
    bench_.startAgent();
    ASSERT_TRUE(bench_.untilReady());
  }
  void untilStarted(const AttemptRef& ref) {
    ASSERT_TRUE(bench_.until([&] { return bench_.hasOutcome(ref, Outcome::STARTED); }));
  }

  AgentBench bench_;
  const AttemptRef one_ = AgentBench::ref(1);
};

TEST_F(AgentSession, SaysHelloAtOnceWhileTheHypervisorIsAway) {
  bench_.host.stopDaemon(true);
  bench_.startAgent();
  ASSERT_TRUE(bench_.until([&] { return bench_.engine.beat.has_value(); }));
  EXPECT_EQ(bench_.engine.hellos.at(0).readiness(), proto::HYPERVISOR_AWAY);
  EXPECT_EQ(bench_.engine.beat->readiness(), proto::HYPERVISOR_AWAY);
  EXPECT_FALSE(bench_.engine.beat->not_ready_reason().empty());
  EXPECT_FALSE(bench_.engine.lastList(true)) << "no list before recover";
  bench_.host.startDaemon();
  ASSERT_TRUE(bench_.untilReady());
  ASSERT_TRUE(bench_.until([&] { return bench_.engine.lastList(true).has_value(); }));
  EXPECT_EQ(bench_.engine.lastList(true)->hypervisor().host_uuid(), bench_.host.hardwareUuid());
}

TEST_F(AgentSession, StartsABulkAndReportsEachOnce) {
  begin();
  std::vector<proto::CreateItem> items;
  for (std::uint8_t i = 1; i <= 40; ++i) items.push_back(AgentBench::item(AgentBench::ref(i)));
  bench_.create(items);
  ASSERT_TRUE(bench_.until([&] { return bench_.engine.count(proto::Frame::kOutcome) >= 40; }));
  bench_.runFor(seconds(20));
  EXPECT_EQ(bench_.engine.count(proto::Frame::kBulkAccepted), 1U);
  for (std::uint8_t i = 1; i <= 40; ++i) {
    const AttemptRef ref = AgentBench::ref(i);
    EXPECT_EQ(bench_.outcomes(ref, Outcome::STARTED), 1U);
    EXPECT_EQ(bench_.resumed[ref.attempt], 1);
    ASSERT_NE(bench_.domain(ref), nullptr);
    EXPECT_TRUE(bench_.domain(ref)->executing());
  }
  EXPECT_EQ(bench_.agent().status().unacknowledged, 0U);
  EXPECT_EQ(bench_.agent().status().running, 40U);
  EXPECT_EQ(bench_.engine.beat->running(), 40U);
  EXPECT_EQ(bench_.engine.beat->staged(), 0U);
}

TEST_F(AgentSession, KeepsAPausedDomainPausedUntilResume) {
  begin();
  bench_.create(one_, true);
  untilStarted(one_);
  EXPECT_EQ(bench_.domain(one_)->info.state, DomainState::Paused);
  bench_.command(one_, proto::Command::RESUME);
  ASSERT_TRUE(bench_.until([&] { return bench_.answer(one_) != nullptr; }));
  EXPECT_EQ(bench_.answer(one_)->verdict(), proto::CommandAnswer::DONE);
  EXPECT_TRUE(bench_.domain(one_)->executing());
}

TEST_F(AgentSession, AnswersTheSameAttemptAgainWithItsState) {
  begin();
  bench_.create(one_);
  untilStarted(one_);
  bench_.runFor(seconds(1));
  const std::size_t before = bench_.outcomes(one_, Outcome::STARTED);
  bench_.create(one_);
  ASSERT_TRUE(bench_.until([&] { return bench_.outcomes(one_, Outcome::STARTED) > before; }));
  EXPECT_EQ(bench_.engine.acceptanceOf(one_.attempt)->error_class(), "");
  EXPECT_EQ(bench_.appeared[one_.attempt], 1);
}

TEST_F(AgentSession, RefusesAStaleOrEqualEpochAndOneThatOverlaps) {
  begin();
  const AttemptRef second = AgentBench::ref(1, 2);
  const AttemptRef equal = AgentBench::ref(1, 2, 1);
  const AttemptRef third = AgentBench::ref(1, 3);
  bench_.create(second);
  untilStarted(second);
  bench_.create({AgentBench::item(one_), AgentBench::item(equal), AgentBench::item(third)});
  ASSERT_TRUE(bench_.until([&] { return bench_.engine.acceptanceOf(third.attempt).has_value(); }));
  EXPECT_EQ(bench_.engine.acceptanceOf(one_.attempt)->error_class(), "superseded");
  EXPECT_EQ(bench_.engine.acceptanceOf(equal.attempt)->error_class(), "superseded");
  EXPECT_EQ(bench_.engine.acceptanceOf(third.attempt)->error_class(), "already_running");
  EXPECT_EQ(bench_.disk.floorOf(one_.vm), Epoch{3}) << "refused means spent, in the journal";
  bench_.create(third);
  bench_.runFor(seconds(5));
  EXPECT_EQ(bench_.engine.acceptanceOf(third.attempt)->error_class(), "superseded");
  EXPECT_TRUE(bench_.domain(second)->executing());
}

TEST_F(AgentSession, SpendsTheEpochOfWhatItRefusesWhileRecovering) {
  bench_.host.stopDaemon(true);
  bench_.startAgent();
  ASSERT_TRUE(bench_.until([&] { return bench_.engine.beat.has_value(); }));
  bench_.create(one_);
  ASSERT_TRUE(bench_.until([&] { return bench_.engine.acceptanceOf(one_.attempt).has_value(); }));
  EXPECT_EQ(bench_.engine.acceptanceOf(one_.attempt)->error_class(), "host_not_ready");
  EXPECT_EQ(bench_.disk.floorOf(one_.vm), one_.epoch);
  bench_.host.startDaemon();
  ASSERT_TRUE(bench_.untilReady());
  bench_.create(one_);
  bench_.runFor(seconds(10));
  EXPECT_EQ(bench_.engine.acceptanceOf(one_.attempt)->error_class(), "superseded");
  EXPECT_EQ(bench_.appeared[one_.attempt], 0);
}

TEST_F(AgentSession, RefusesWhatItsIntakeCannotHold) {
  bench_.options.intake = 3;
  bench_.options.create_width = 1;
  begin();
  std::vector<proto::CreateItem> items;
  for (std::uint8_t i = 1; i <= 5; ++i) items.push_back(AgentBench::item(AgentBench::ref(i)));
  bench_.create(items);
  ASSERT_TRUE(bench_.until([&] { return bench_.engine.count(proto::Frame::kOutcome) >= 3; }));
  int refused = 0;
  for (std::uint8_t i = 1; i <= 5; ++i) {
    const auto item = bench_.engine.acceptanceOf(AgentBench::ref(i).attempt);
    if (item->error_class().empty()) continue;
    EXPECT_EQ(item->error_class(), "rate_limited");
    EXPECT_EQ(bench_.disk.floorOf(AgentBench::vm(i)), Epoch{1});
    ++refused;
  }
  EXPECT_EQ(refused, 2);
}

TEST_F(AgentSession, JournalsAClaimAsBeingBuiltIfTheLaneIsFree) {
  bench_.options.create_width = 1;
  begin();
  std::map<AttemptId, std::vector<ClaimRecord>> written;
  bench_.disk.onCommit([&](const std::vector<JournalChange>& changes) {
    for (const JournalChange& change : changes) {
      const auto* const put = std::get_if<PutClaim>(&change);
      if (put != nullptr) written[put->record.claim.ref.attempt].push_back(put->record);
    }
  });
  const AttemptRef urgent = AgentBench::ref(2);
  proto::CreateItem item = AgentBench::item(urgent);
  item.set_priority(9);
  bench_.create({AgentBench::item(one_), item});
  untilStarted(one_);
  const std::vector<ClaimRecord>& first = written[urgent.attempt];
  const std::vector<ClaimRecord>& second = written[one_.attempt];
  ASSERT_GE(second.size(), 2U);
  EXPECT_EQ(first.at(0).phase, ClaimPhase::Building);
  EXPECT_EQ(first.at(0).build_started_at, first.at(0).claimed_at);
  EXPECT_EQ(first.at(1).phase, ClaimPhase::Published);
  EXPECT_EQ(second.at(0).phase, ClaimPhase::Claimed) << "it waits for the lane";
  EXPECT_FALSE(second.at(0).build_started_at);
  EXPECT_EQ(second.at(1).phase, ClaimPhase::Building);
  EXPECT_GT(second.at(1).build_started_at, second.at(1).claimed_at);
  bench_.crashAgent();
}

TEST_F(AgentSession, RefusesWhenTheJournalIsFullAndClaimsNothing) {
  bench_.options.create_width = 1;
  begin();
  bench_.disk.setFull(true);
  bench_.create(one_);
  bench_.runFor(seconds(5));
  EXPECT_FALSE(bench_.engine.acceptanceOf(one_.attempt)) << "its epoch is not durably spent yet";
  EXPECT_EQ(bench_.engine.beat->readiness(), proto::RECOVERING);
  EXPECT_EQ(bench_.disk.find(one_.attempt), nullptr);
  EXPECT_EQ(bench_.agent().status().lane_busy, 0U) << "its slot is free again";
  bench_.disk.setFull(false);
  ASSERT_TRUE(bench_.until([&] { return bench_.engine.acceptanceOf(one_.attempt).has_value(); }));
  EXPECT_EQ(bench_.engine.acceptanceOf(one_.attempt)->error_class(), "store_full");
  EXPECT_EQ(bench_.disk.floorOf(one_.vm), one_.epoch);
  ASSERT_TRUE(bench_.untilReady());
  bench_.create(one_);
  bench_.runFor(seconds(10));
  EXPECT_EQ(bench_.engine.acceptanceOf(one_.attempt)->error_class(), "superseded")
      << "a refused epoch stays spent";
  EXPECT_EQ(bench_.appeared[one_.attempt], 0);
  const AttemptRef two = AgentBench::ref(1, 2);
  bench_.create(two);
  untilStarted(two);
}

TEST_F(AgentSession, KeepsItsHypervisorWhenTheJournalCannotTakeTheEngine) {
  bench_.disk.setFull(true);
  bench_.disk.setStalled(true);
  bench_.startAgent();
  bench_.runFor(seconds(5));
  ASSERT_EQ(bench_.agent().status().session, 0U) << "the session waits for the journal";
  bench_.disk.setStalled(false);
  bench_.runFor(seconds(1));
  bench_.disk.setFull(false);
  ASSERT_TRUE(bench_.untilReady());
  EXPECT_EQ(bench_.disk.marks().store_id, bench_.engine.store_id);
  EXPECT_EQ(bench_.disk.marks().hypervisor_host_uuid, bench_.host.hardwareUuid());
}

TEST_F(AgentSession, HoldsAResultBackWhileTheJournalIsFull) {
  begin();
  bench_.create(one_);
  ASSERT_TRUE(bench_.until([&] { return bench_.domain(one_) != nullptr; }));
  bench_.disk.setFull(true);
  bench_.runFor(seconds(30));
  EXPECT_FALSE(bench_.hasOutcome(one_, Outcome::STARTED));
  bench_.disk.setFull(false);
  untilStarted(one_);
}

TEST_F(AgentSession, RepeatsResultsUntilTheyAreAcknowledged) {
  bench_.engine.acknowledges = false;
  begin();
  bench_.create(one_);
  untilStarted(one_);
  bench_.runFor(seconds(20));
  EXPECT_GE(bench_.outcomes(one_, Outcome::STARTED), 4U);
  bench_.engine.cut();
  const std::size_t before = bench_.outcomes(one_, Outcome::STARTED);
  ASSERT_TRUE(bench_.untilReady());
  ASSERT_TRUE(bench_.until([&] { return bench_.outcomes(one_, Outcome::STARTED) > before; }));
  bench_.engine.acknowledges = true;
  ASSERT_TRUE(bench_.until([&] { return bench_.agent().status().unacknowledged == 0; }));
  bench_.runFor(seconds(2));
  const std::size_t settled = bench_.outcomes(one_, Outcome::STARTED);
  bench_.runFor(seconds(20));
  EXPECT_EQ(bench_.outcomes(one_, Outcome::STARTED), settled);
  EXPECT_TRUE(bench_.disk.find(one_.attempt)->started_acked);
}

TEST_F(AgentSession, IgnoresAcknowledgementsOfAnotherStore) {
  bench_.engine.acknowledges = false;
  begin();
  bench_.create(one_);
  untilStarted(one_);
  proto::Frame frame;
  refToProto(one_, frame.mutable_acknowledge()->add_items()->mutable_ref());
  frame.mutable_acknowledge()->mutable_items(0)->set_kind(Outcome::STARTED);
  frame.mutable_acknowledge()->set_commit(500);
  frame.mutable_acknowledge()->set_store_id(std::string(16, 'x'));
  bench_.engine.send(frame);
  bench_.runFor(seconds(5));
  EXPECT_EQ(bench_.agent().status().unacknowledged, 1U);
  frame.mutable_acknowledge()->set_store_id(bench_.engine.store_id);
  bench_.engine.send(frame);
  ASSERT_TRUE(bench_.until([&] { return bench_.agent().status().unacknowledged == 0; }));
}

TEST_F(AgentSession, KeepsTombstoneAndFloorUntilTheWatermark) {
  begin();
  bench_.host.curse("vm-1");
  bench_.create(one_);
  ASSERT_TRUE(bench_.until([&] { return bench_.hasOutcome(one_, Outcome::FAILED); }));
  bench_.runFor(seconds(5));
  ASSERT_NE(bench_.disk.find(one_.attempt), nullptr);
  EXPECT_TRUE(bench_.disk.find(one_.attempt)->end_acked);
  EXPECT_EQ(bench_.disk.floorOf(one_.vm), one_.epoch);
  bench_.engine.watermark = bench_.engine.commit;
  ASSERT_TRUE(bench_.until([&] { return bench_.disk.find(one_.attempt) == nullptr; }));
  EXPECT_EQ(bench_.disk.floorOf(one_.vm), Epoch{});
}

TEST_F(AgentSession, DropsFramesOfAnotherSessionOrTerm) {
  begin();
  proto::Frame frame;
  frame.mutable_bulk_create()->set_batch(std::string(16, 'b'));
  *frame.mutable_bulk_create()->add_items() = AgentBench::item(one_);
  frame.set_session(bench_.engine.session() - 1);
  bench_.engine.send(frame);
  frame.set_session(bench_.engine.session());
  frame.set_term(bench_.engine.term - 1);
  bench_.engine.send(frame);
  bench_.runFor(seconds(5));
  EXPECT_FALSE(bench_.engine.acceptanceOf(one_.attempt));
  EXPECT_EQ(bench_.disk.floorOf(one_.vm), Epoch{}) << "not even spent";
  EXPECT_EQ(bench_.engine.hellos.size(), 1U) << "dropped, not punished";
}

TEST_F(AgentSession, EndsTheSessionOnMalformedFrames) {
  begin();
  std::vector<std::string> bad;
  bad.push_back("\x01\x02 no frame");
  proto::Frame frame;
  frame.set_session(1);
  bad.push_back(frame.SerializeAsString());
  for (const std::string& message : bad) {
    const std::size_t hellos = bench_.engine.hellos.size();
    bench_.engine.sendRaw(message);
    ASSERT_TRUE(bench_.until([&] { return bench_.engine.hellos.size() > hellos; }));
    ASSERT_TRUE(bench_.untilReady());
  }
  for (int i = 0; i < 4; ++i) {
    proto::Frame create;
    create.mutable_bulk_create()->set_batch(std::string(i == 0 ? 15 : 16, 'b'));
    proto::CreateItem item = AgentBench::item(one_);
    if (i == 1) item.set_attempt("short");
    if (i == 2) item.set_vm(std::string(16, '\0'));
    if (i == 3) item.set_epoch(0);
    *create.mutable_bulk_create()->add_items() = item;
    const std::size_t hellos = bench_.engine.hellos.size();
    bench_.engine.send(create);
    ASSERT_TRUE(bench_.until([&] { return bench_.engine.hellos.size() > hellos; })) << i;
    ASSERT_TRUE(bench_.untilReady());
  }
  EXPECT_EQ(bench_.appeared[one_.attempt], 0);
}

TEST_F(AgentSession, ServesNoEngineOfALowerTerm) {
  begin();
  EXPECT_EQ(bench_.disk.marks().term, 7U);
  bench_.engine.term = 6;
  bench_.engine.cut();
  ASSERT_TRUE(bench_.until([&] { return bench_.engine.hellos.size() >= 4; }));
  EXPECT_EQ(bench_.agent().status().session, 0U);
  EXPECT_EQ(bench_.engine.hellos.back().marks().term(), 7U);
  EXPECT_EQ(bench_.engine.hellos.back().marks().store_id(), bench_.engine.store_id);
  bench_.engine.term = 8;
  ASSERT_TRUE(bench_.untilReady());
  EXPECT_EQ(bench_.disk.marks().term, 8U);
}

TEST_F(AgentSession, ServesOneEngineOfATermOnly) {
  const StartId first = *idFromBytes<StartId>(std::string(16, 'f'));
  const StartId other = *idFromBytes<StartId>(std::string(16, 'o'));
  bench_.engine.start = first;
  begin();
  EXPECT_EQ(bench_.disk.marks().start, first);
  bench_.engine.start = other;
  bench_.engine.cut();
  ASSERT_TRUE(bench_.until([&] { return bench_.engine.hellos.size() >= 4; }));
  EXPECT_EQ(bench_.agent().status().session, 0U);
  EXPECT_EQ(bench_.engine.hellos.back().marks().start(), first.uuid.toBytes())
      << "that is how the other one learns of it";
  bench_.engine.term = 8;
  ASSERT_TRUE(bench_.untilReady());
  EXPECT_EQ(bench_.disk.marks().start, other);
}

TEST_F(AgentSession, AStartThatOneSideDoesNotTellIsNoObstacle) {
  begin();
  bench_.engine.start = *idFromBytes<StartId>(std::string(16, 'n'));
  bench_.engine.cut();
  ASSERT_TRUE(bench_.until([&] { return bench_.engine.hellos.size() >= 2; }));
  ASSERT_TRUE(bench_.untilReady());
  EXPECT_EQ(bench_.disk.marks().start, bench_.engine.start) << "an engine that was upgraded";
}

TEST_F(AgentSession, LeavesAnEngineThatSpeaksAnotherProtocol) {
  bench_.engine.tamper_welcome = [](proto::Frame& frame) {
    frame.mutable_welcome()->set_protocol(9);
  };
  bench_.startAgent();
  ASSERT_TRUE(bench_.until([&] { return bench_.engine.hellos.size() >= 3; }));
  EXPECT_EQ(bench_.agent().status().session, 0U);
  EXPECT_EQ(bench_.engine.hellos.back().protocol_min(), 1U);
  EXPECT_EQ(bench_.engine.hellos.back().protocol_max(), 1U);
}

TEST_F(AgentSession, WaitsAsLongAsARefusalAsks) {
  bench_.engine.refuses.emplace();
  bench_.engine.refuses->set_error_class("host_not_ready");
  bench_.engine.refuses->set_retry_after_ms(20'000);
  bench_.startAgent();
  ASSERT_TRUE(bench_.until([&] { return !bench_.engine.hellos.empty(); }));
  bench_.runFor(seconds(9));
  EXPECT_EQ(bench_.engine.hellos.size(), 1U);
  bench_.engine.refuses.reset();
  ASSERT_TRUE(bench_.untilReady());
}

TEST_F(AgentSession, CutsASilentEngineAndDialsAgain) {
  begin();
  bench_.engine.beats = false;
  const std::size_t hellos = bench_.engine.hellos.size();
  bench_.runFor(seconds(8));
  EXPECT_EQ(bench_.engine.hellos.size(), hellos);
  ASSERT_TRUE(bench_.until([&] { return bench_.engine.hellos.size() > hellos; }, seconds(10)));
}

TEST_F(AgentSession, StopsInOrderAndSaysSo) {
  begin();
  bench_.create(one_);
  untilStarted(one_);
  bench_.agent().stop();
  ASSERT_TRUE(bench_.until([&] { return !bench_.engine.connected(); }, seconds(5)));
  EXPECT_EQ(bench_.engine.beat->readiness(), proto::STOPPING);
  bench_.runFor(seconds(5));
  bench_.crashAgent();
  EXPECT_TRUE(bench_.domain(one_)->executing()) << "domains go on";
  bench_.engine.frames.clear();
  bench_.startAgent();
  ASSERT_TRUE(bench_.untilReady());
  ASSERT_TRUE(bench_.until([&] { return bench_.engine.lastList(true).has_value(); }));
  EXPECT_EQ(bench_.engine.lastList(true)->domains_size(), 1);
}

}  // namespace
}  // namespace vms::hostagent
