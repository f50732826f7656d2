#include <gtest/gtest.h>

#include <algorithm>

#include "schema/frames.h"
#include "tests/unit/agent_bench.h"

namespace vms::hostagent {
namespace {

using proto::Outcome;

class AgentSession : public ::testing::Test {
 protected:
  void begin() {
    bench.startAgent();
    ASSERT_TRUE(bench.untilReady());
  }
  void untilStarted(const AttemptRef& ref) {
    ASSERT_TRUE(bench.until([&] { return bench.hasOutcome(ref, Outcome::STARTED); }));
  }

  AgentBench bench;
  const AttemptRef one = AgentBench::ref(1);
};

TEST_F(AgentSession, SaysHelloAtOnceWhileTheHypervisorIsAway) {
  bench.host.stopDaemon(true);
  bench.startAgent();
  ASSERT_TRUE(bench.until([&] { return bench.engine.beat.has_value(); }));
  EXPECT_EQ(bench.engine.hellos.at(0).readiness(), proto::HYPERVISOR_AWAY);
  EXPECT_EQ(bench.engine.beat->readiness(), proto::HYPERVISOR_AWAY);
  EXPECT_FALSE(bench.engine.beat->not_ready_reason().empty());
  EXPECT_FALSE(bench.engine.lastList(true)) << "no list before recover";
  bench.host.startDaemon();
  ASSERT_TRUE(bench.untilReady());
  ASSERT_TRUE(bench.until([&] { return bench.engine.lastList(true).has_value(); }));
  EXPECT_EQ(bench.engine.lastList(true)->hypervisor().host_uuid(), bench.host.hardwareUuid());
}

TEST_F(AgentSession, StartsABulkAndReportsEachOnce) {
  begin();
  std::vector<proto::CreateItem> items;
  for (std::uint8_t i = 1; i <= 40; ++i) items.push_back(AgentBench::item(AgentBench::ref(i)));
  bench.create(items);
  ASSERT_TRUE(bench.until([&] { return bench.engine.count(proto::Frame::kOutcome) >= 40; }));
  bench.runFor(seconds(20));
  EXPECT_EQ(bench.engine.count(proto::Frame::kBulkAccepted), 1U);
  for (std::uint8_t i = 1; i <= 40; ++i) {
    const AttemptRef ref = AgentBench::ref(i);
    EXPECT_EQ(bench.outcomes(ref, Outcome::STARTED), 1U);
    EXPECT_EQ(bench.resumed[ref.attempt], 1);
    ASSERT_NE(bench.domain(ref), nullptr);
    EXPECT_TRUE(bench.domain(ref)->executing());
  }
  EXPECT_EQ(bench.agent().status().unacknowledged, 0U);
  EXPECT_EQ(bench.agent().status().running, 40U);
  EXPECT_EQ(bench.engine.beat->running(), 40U);
  EXPECT_EQ(bench.engine.beat->staged(), 0U);
}

TEST_F(AgentSession, KeepsAPausedDomainPausedUntilResume) {
  begin();
  bench.create(one, true);
  untilStarted(one);
  EXPECT_EQ(bench.domain(one)->info.state, DomainState::Paused);
  bench.command(one, proto::Command::RESUME);
  ASSERT_TRUE(bench.until([&] { return bench.answer(one) != nullptr; }));
  EXPECT_EQ(bench.answer(one)->verdict(), proto::CommandAnswer::DONE);
  EXPECT_TRUE(bench.domain(one)->executing());
}

TEST_F(AgentSession, AnswersTheSameAttemptAgainWithItsState) {
  begin();
  bench.create(one);
  untilStarted(one);
  bench.runFor(seconds(1));
  const std::size_t before = bench.outcomes(one, Outcome::STARTED);
  bench.create(one);
  ASSERT_TRUE(bench.until([&] { return bench.outcomes(one, Outcome::STARTED) > before; }));
  EXPECT_EQ(bench.engine.acceptanceOf(one.attempt)->error_class(), "");
  EXPECT_EQ(bench.appeared[one.attempt], 1);
}

TEST_F(AgentSession, RefusesAStaleOrEqualEpochAndOneThatOverlaps) {
  begin();
  const AttemptRef second = AgentBench::ref(1, 2);
  const AttemptRef equal = AgentBench::ref(1, 2, 1);
  const AttemptRef third = AgentBench::ref(1, 3);
  bench.create(second);
  untilStarted(second);
  bench.create({AgentBench::item(one), AgentBench::item(equal), AgentBench::item(third)});
  ASSERT_TRUE(bench.until([&] { return bench.engine.acceptanceOf(third.attempt).has_value(); }));
  EXPECT_EQ(bench.engine.acceptanceOf(one.attempt)->error_class(), "superseded");
  EXPECT_EQ(bench.engine.acceptanceOf(equal.attempt)->error_class(), "superseded");
  EXPECT_EQ(bench.engine.acceptanceOf(third.attempt)->error_class(), "already_running");
  EXPECT_EQ(bench.disk.floorOf(one.vm), Epoch{3}) << "refused means spent, in the journal";
  bench.create(third);
  bench.runFor(seconds(5));
  EXPECT_EQ(bench.engine.acceptanceOf(third.attempt)->error_class(), "superseded");
  EXPECT_TRUE(bench.domain(second)->executing());
}

TEST_F(AgentSession, SpendsTheEpochOfWhatItRefusesWhileRecovering) {
  bench.host.stopDaemon(true);
  bench.startAgent();
  ASSERT_TRUE(bench.until([&] { return bench.engine.beat.has_value(); }));
  bench.create(one);
  ASSERT_TRUE(bench.until([&] { return bench.engine.acceptanceOf(one.attempt).has_value(); }));
  EXPECT_EQ(bench.engine.acceptanceOf(one.attempt)->error_class(), "host_not_ready");
  EXPECT_EQ(bench.disk.floorOf(one.vm), one.epoch);
  bench.host.startDaemon();
  ASSERT_TRUE(bench.untilReady());
  bench.create(one);
  bench.runFor(seconds(10));
  EXPECT_EQ(bench.engine.acceptanceOf(one.attempt)->error_class(), "superseded");
  EXPECT_EQ(bench.appeared[one.attempt], 0);
}

TEST_F(AgentSession, RefusesWhatItsIntakeCannotHold) {
  bench.options.intake = 3;
  bench.options.create_width = 1;
  begin();
  std::vector<proto::CreateItem> items;
  for (std::uint8_t i = 1; i <= 5; ++i) items.push_back(AgentBench::item(AgentBench::ref(i)));
  bench.create(items);
  ASSERT_TRUE(bench.until([&] { return bench.engine.count(proto::Frame::kOutcome) >= 3; }));
  int refused = 0;
  for (std::uint8_t i = 1; i <= 5; ++i) {
    const auto item = bench.engine.acceptanceOf(AgentBench::ref(i).attempt);
    if (item->error_class().empty()) continue;
    EXPECT_EQ(item->error_class(), "rate_limited");
    EXPECT_EQ(bench.disk.floorOf(AgentBench::vm(i)), Epoch{1});
    ++refused;
  }
  EXPECT_EQ(refused, 2);
}

TEST_F(AgentSession, RefusesWhenTheJournalIsFullAndClaimsNothing) {
  begin();
  bench.disk.setFull(true);
  bench.create(one);
  bench.runFor(seconds(5));
  EXPECT_FALSE(bench.engine.acceptanceOf(one.attempt)) << "its epoch is not durably spent yet";
  EXPECT_EQ(bench.engine.beat->readiness(), proto::RECOVERING);
  EXPECT_EQ(bench.disk.find(one.attempt), nullptr);
  bench.disk.setFull(false);
  ASSERT_TRUE(bench.until([&] { return bench.engine.acceptanceOf(one.attempt).has_value(); }));
  EXPECT_EQ(bench.engine.acceptanceOf(one.attempt)->error_class(), "store_full");
  EXPECT_EQ(bench.disk.floorOf(one.vm), one.epoch);
  ASSERT_TRUE(bench.untilReady());
  bench.create(one);
  bench.runFor(seconds(10));
  EXPECT_EQ(bench.engine.acceptanceOf(one.attempt)->error_class(), "superseded")
      << "a refused epoch stays spent";
  EXPECT_EQ(bench.appeared[one.attempt], 0);
  const AttemptRef two = AgentBench::ref(1, 2);
  bench.create(two);
  untilStarted(two);
}

TEST_F(AgentSession, KeepsItsHypervisorWhenTheJournalCannotTakeTheEngine) {
  bench.disk.setFull(true);
  bench.disk.setStalled(true);
  bench.startAgent();
  bench.runFor(seconds(5));
  ASSERT_EQ(bench.agent().status().session, 0U) << "the session waits for the journal";
  bench.disk.setStalled(false);
  bench.runFor(seconds(1));
  bench.disk.setFull(false);
  ASSERT_TRUE(bench.untilReady());
  EXPECT_EQ(bench.disk.marks().store_id, bench.engine.store_id);
  EXPECT_EQ(bench.disk.marks().hypervisor_host_uuid, bench.host.hardwareUuid());
}

TEST_F(AgentSession, HoldsAResultBackWhileTheJournalIsFull) {
  begin();
  bench.create(one);
  ASSERT_TRUE(bench.until([&] { return bench.domain(one) != nullptr; }));
  bench.disk.setFull(true);
  bench.runFor(seconds(30));
  EXPECT_FALSE(bench.hasOutcome(one, Outcome::STARTED));
  bench.disk.setFull(false);
  untilStarted(one);
}

TEST_F(AgentSession, RepeatsResultsUntilTheyAreAcknowledged) {
  bench.engine.acknowledges = false;
  begin();
  bench.create(one);
  untilStarted(one);
  bench.runFor(seconds(20));
  EXPECT_GE(bench.outcomes(one, Outcome::STARTED), 4U);
  bench.engine.cut();
  const std::size_t before = bench.outcomes(one, Outcome::STARTED);
  ASSERT_TRUE(bench.untilReady());
  ASSERT_TRUE(bench.until([&] { return bench.outcomes(one, Outcome::STARTED) > before; }));
  bench.engine.acknowledges = true;
  ASSERT_TRUE(bench.until([&] { return bench.agent().status().unacknowledged == 0; }));
  bench.runFor(seconds(2));
  const std::size_t settled = bench.outcomes(one, Outcome::STARTED);
  bench.runFor(seconds(20));
  EXPECT_EQ(bench.outcomes(one, Outcome::STARTED), settled);
  EXPECT_TRUE(bench.disk.find(one.attempt)->started_acked);
}

TEST_F(AgentSession, IgnoresAcknowledgementsOfAnotherStore) {
  bench.engine.acknowledges = false;
  begin();
  bench.create(one);
  untilStarted(one);
  proto::Frame frame;
  refToProto(one, frame.mutable_acknowledge()->add_items()->mutable_ref());
  frame.mutable_acknowledge()->mutable_items(0)->set_kind(Outcome::STARTED);
  frame.mutable_acknowledge()->set_commit(500);
  frame.mutable_acknowledge()->set_store_id(std::string(16, 'x'));
  bench.engine.send(frame);
  bench.runFor(seconds(5));
  EXPECT_EQ(bench.agent().status().unacknowledged, 1U);
  frame.mutable_acknowledge()->set_store_id(bench.engine.store_id);
  bench.engine.send(frame);
  ASSERT_TRUE(bench.until([&] { return bench.agent().status().unacknowledged == 0; }));
}

TEST_F(AgentSession, KeepsTombstoneAndFloorUntilTheWatermark) {
  begin();
  bench.host.curse("vm-1");
  bench.create(one);
  ASSERT_TRUE(bench.until([&] { return bench.hasOutcome(one, Outcome::FAILED); }));
  bench.runFor(seconds(5));
  ASSERT_NE(bench.disk.find(one.attempt), nullptr);
  EXPECT_TRUE(bench.disk.find(one.attempt)->end_acked);
  EXPECT_EQ(bench.disk.floorOf(one.vm), one.epoch);
  bench.engine.watermark = bench.engine.commit;
  ASSERT_TRUE(bench.until([&] { return bench.disk.find(one.attempt) == nullptr; }));
  EXPECT_EQ(bench.disk.floorOf(one.vm), Epoch{});
}

TEST_F(AgentSession, DropsFramesOfAnotherSessionOrTerm) {
  begin();
  proto::Frame frame;
  frame.mutable_bulk_create()->set_batch(std::string(16, 'b'));
  *frame.mutable_bulk_create()->add_items() = AgentBench::item(one);
  frame.set_session(bench.engine.session() - 1);
  bench.engine.send(frame);
  frame.set_session(bench.engine.session());
  frame.set_term(bench.engine.term - 1);
  bench.engine.send(frame);
  bench.runFor(seconds(5));
  EXPECT_FALSE(bench.engine.acceptanceOf(one.attempt));
  EXPECT_EQ(bench.disk.floorOf(one.vm), Epoch{}) << "not even spent";
  EXPECT_EQ(bench.engine.hellos.size(), 1U) << "dropped, not punished";
}

TEST_F(AgentSession, EndsTheSessionOnMalformedFrames) {
  begin();
  std::vector<std::string> bad;
  bad.push_back("\x01\x02 no frame");
  proto::Frame frame;
  frame.set_session(1);
  bad.push_back(frame.SerializeAsString());
  for (const std::string& message : bad) {
    const std::size_t hellos = bench.engine.hellos.size();
    bench.engine.sendRaw(message);
    ASSERT_TRUE(bench.until([&] { return bench.engine.hellos.size() > hellos; }));
    ASSERT_TRUE(bench.untilReady());
  }
  for (int i = 0; i < 4; ++i) {
    proto::Frame create;
    create.mutable_bulk_create()->set_batch(std::string(i == 0 ? 15 : 16, 'b'));
    proto::CreateItem item = AgentBench::item(one);
    if (i == 1) item.set_attempt("short");
    if (i == 2) item.set_vm(std::string(16, '\0'));
    if (i == 3) item.set_epoch(0);
    *create.mutable_bulk_create()->add_items() = item;
    const std::size_t hellos = bench.engine.hellos.size();
    bench.engine.send(create);
    ASSERT_TRUE(bench.until([&] { return bench.engine.hellos.size() > hellos; })) << i;
    ASSERT_TRUE(bench.untilReady());
  }
  EXPECT_EQ(bench.appeared[one.attempt], 0);
}

TEST_F(AgentSession, ServesNoEngineOfALowerTerm) {
  begin();
  EXPECT_EQ(bench.disk.marks().term, 7U);
  bench.engine.term = 6;
  bench.engine.cut();
  ASSERT_TRUE(bench.until([&] { return bench.engine.hellos.size() >= 4; }));
  EXPECT_EQ(bench.agent().status().session, 0U);
  EXPECT_EQ(bench.engine.hellos.back().marks().term(), 7U);
  EXPECT_EQ(bench.engine.hellos.back().marks().store_id(), bench.engine.store_id);
  bench.engine.term = 8;
  ASSERT_TRUE(bench.untilReady());
  EXPECT_EQ(bench.disk.marks().term, 8U);
}

TEST_F(AgentSession, LeavesAnEngineThatSpeaksAnotherProtocol) {
  bench.engine.tamper_welcome = [](proto::Frame& frame) {
    frame.mutable_welcome()->set_protocol(9);
  };
  bench.startAgent();
  ASSERT_TRUE(bench.until([&] { return bench.engine.hellos.size() >= 3; }));
  EXPECT_EQ(bench.agent().status().session, 0U);
  EXPECT_EQ(bench.engine.hellos.back().protocol_min(), 1U);
  EXPECT_EQ(bench.engine.hellos.back().protocol_max(), 1U);
}

TEST_F(AgentSession, WaitsAsLongAsARefusalAsks) {
  bench.engine.refuses.emplace();
  bench.engine.refuses->set_error_class("host_not_ready");
  bench.engine.refuses->set_retry_after_ms(20'000);
  bench.startAgent();
  ASSERT_TRUE(bench.until([&] { return !bench.engine.hellos.empty(); }));
  bench.runFor(seconds(9));
  EXPECT_EQ(bench.engine.hellos.size(), 1U);
  bench.engine.refuses.reset();
  ASSERT_TRUE(bench.untilReady());
}

TEST_F(AgentSession, CutsASilentEngineAndDialsAgain) {
  begin();
  bench.engine.beats = false;
  const std::size_t hellos = bench.engine.hellos.size();
  bench.runFor(seconds(8));
  EXPECT_EQ(bench.engine.hellos.size(), hellos);
  ASSERT_TRUE(bench.until([&] { return bench.engine.hellos.size() > hellos; }, seconds(10)));
}

TEST_F(AgentSession, StopsInOrderAndSaysSo) {
  begin();
  bench.create(one);
  untilStarted(one);
  bench.agent().stop();
  ASSERT_TRUE(bench.until([&] { return !bench.engine.connected(); }, seconds(5)));
  EXPECT_EQ(bench.engine.beat->readiness(), proto::STOPPING);
  bench.runFor(seconds(5));
  bench.crashAgent();
  EXPECT_TRUE(bench.domain(one)->executing()) << "domains go on";
  bench.engine.frames.clear();
  bench.startAgent();
  ASSERT_TRUE(bench.untilReady());
  ASSERT_TRUE(bench.until([&] { return bench.engine.lastList(true).has_value(); }));
  EXPECT_EQ(bench.engine.lastList(true)->domains_size(), 1);
}

}  // namespace
}  // namespace vms::hostagent
