#include <gtest/gtest.h>

#include "tests/unit/agent_bench.h"

namespace vms::hostagent {
namespace {

using proto::Command;
using proto::CommandAnswer;
using proto::Outcome;

class AgentCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    bench.startAgent();
    ASSERT_TRUE(bench.untilReady());
  }
  void start(const AttemptRef& ref) {
    bench.create(ref);
    ASSERT_TRUE(bench.until([&] { return bench.hasOutcome(ref, Outcome::STARTED); }));
    // Its own flow lets go of it.
    bench.runFor(seconds(1));
  }
  CommandAnswer ask(const AttemptRef& ref, Command::Kind kind) {
    const std::size_t before = bench.engine.answersOf(ref.attempt).size();
    bench.command(ref, kind);
    EXPECT_TRUE(bench.until([&] { return bench.engine.answersOf(ref.attempt).size() > before; }));
    return bench.engine.answersOf(ref.attempt).back();
  }

  AgentBench bench;
  const AttemptRef one = AgentBench::ref(1);
};

TEST_F(AgentCommand, ForceOffEndsAsIntended) {
  start(one);
  EXPECT_EQ(ask(one, Command::FORCE_OFF).verdict(), CommandAnswer::DONE);
  ASSERT_TRUE(bench.until([&] { return bench.hasOutcome(one, Outcome::ENDED); }));
  EXPECT_EQ(bench.engine.outcomesOf(one.attempt).back().error_class(), "intended_stop");
  EXPECT_EQ(bench.engine.outcomesOf(one.attempt).back().stop_reason(), "destroyed");
  EXPECT_TRUE(bench.host.domains().empty());
  bench.runFor(seconds(20));
  EXPECT_EQ(bench.outcomes(one, Outcome::ENDED), 1U);
  EXPECT_EQ(ask(one, Command::FORCE_OFF).verdict(), CommandAnswer::ABSENT);
}

TEST_F(AgentCommand, ForceOffIsKeptOverACrash) {
  start(one);
  bench.host.setHung(true);
  EXPECT_EQ(ask(one, Command::FORCE_OFF).verdict(), CommandAnswer::DONE);
  bench.crashAgent();
  bench.host.setHung(false);
  bench.startAgent();
  ASSERT_TRUE(bench.until([&] { return bench.hasOutcome(one, Outcome::ENDED); }));
  EXPECT_EQ(bench.engine.outcomesOf(one.attempt).back().error_class(), "intended_stop");
  EXPECT_TRUE(bench.host.domains().empty());
}

TEST_F(AgentCommand, ShutdownEndsWhenTheGuestDoes) {
  start(one);
  EXPECT_EQ(ask(one, Command::SHUTDOWN).verdict(), CommandAnswer::DONE);
  ASSERT_TRUE(bench.until([&] { return bench.hasOutcome(one, Outcome::ENDED); }));
  EXPECT_EQ(bench.engine.outcomesOf(one.attempt).back().stop_reason(), "shutdown");
}

TEST_F(AgentCommand, ACrashIsNotAnIntendedStop) {
  start(one);
  bench.host.endGuest(one.vm, StopReason::Crashed);
  ASSERT_TRUE(bench.until([&] { return bench.hasOutcome(one, Outcome::ENDED); }));
  EXPECT_EQ(bench.engine.outcomesOf(one.attempt).back().error_class(), "crashed");
  bench.runFor(seconds(20));
  EXPECT_EQ(bench.outcomes(one, Outcome::ENDED), 1U);
  EXPECT_EQ(bench.agent().status().running, 0U);
}

TEST_F(AgentCommand, CommandsMustNameTheAttempt) {
  start(one);
  const AttemptRef other = AgentBench::ref(1, 1, 9);
  const CommandAnswer answer = ask(other, Command::FORCE_OFF);
  EXPECT_EQ(answer.verdict(), CommandAnswer::ABSENT);
  EXPECT_TRUE(bench.domain(one)->executing());
}

TEST_F(AgentCommand, ProbeOfTheUnknownSpendsItsEpoch) {
  EXPECT_EQ(ask(one, Command::PROBE).verdict(), CommandAnswer::ABSENT);
  EXPECT_EQ(bench.disk.floorOf(one.vm), one.epoch);
  bench.create(one);
  ASSERT_TRUE(bench.until([&] { return bench.engine.acceptanceOf(one.attempt).has_value(); }));
  EXPECT_EQ(bench.engine.acceptanceOf(one.attempt)->error_class(), "superseded");
}

TEST_F(AgentCommand, ProbeTellsThatWhatALostJournalKnewWasMovedAway) {
  start(one);
  bench.crashAgent();
  bench.disk.wipe();
  bench.host.endGuest(one.vm, StopReason::Migrated);
  bench.startAgent();
  ASSERT_TRUE(bench.untilReady());
  const CommandAnswer first = ask(one, Command::PROBE);
  EXPECT_EQ(first.verdict(), CommandAnswer::ABSENT);
  EXPECT_EQ(first.stop_reason(), "migrated");
  EXPECT_EQ(ask(one, Command::PROBE).stop_reason(), "migrated") << "the answer may have been lost";
  // The next one has never been here: the journal would know.
  EXPECT_EQ(ask(AgentBench::ref(1, 2, 2), Command::PROBE).stop_reason(), "");
}

TEST_F(AgentCommand, CancelOfTheUnknownSpendsItsEpoch) {
  EXPECT_EQ(ask(one, Command::CANCEL).verdict(), CommandAnswer::ABSENT);
  EXPECT_EQ(bench.disk.floorOf(one.vm), one.epoch);
}

TEST_F(AgentCommand, ProbeKnowsNothingWhileTheHypervisorIsAway) {
  bench.host.stopDaemon(true);
  bench.runFor(seconds(2));
  EXPECT_EQ(ask(one, Command::PROBE).verdict(), CommandAnswer::INDETERMINATE);
  EXPECT_EQ(bench.disk.floorOf(one.vm), Epoch{});
}

TEST_F(AgentCommand, ProbeTellsWhatRunsAndWhatFailed) {
  start(one);
  const std::size_t before = bench.outcomes(one, Outcome::STARTED);
  EXPECT_EQ(ask(one, Command::PROBE).verdict(), CommandAnswer::PRESENT);
  ASSERT_TRUE(bench.until([&] { return bench.outcomes(one, Outcome::STARTED) > before; }));

  const AttemptRef two = AgentBench::ref(2);
  bench.host.curse("vm-2");
  bench.create(two);
  ASSERT_TRUE(bench.until([&] { return bench.hasOutcome(two, Outcome::FAILED); }));
  bench.runFor(seconds(2));
  EXPECT_EQ(ask(two, Command::PROBE).verdict(), CommandAnswer::ABSENT);
  EXPECT_EQ(bench.outcomes(two, Outcome::FAILED), 2U) << "the result comes with the answer";
}

TEST_F(AgentCommand, OneOperationPerVmAtATime) {
  bench.host.profile().build_min = bench.host.profile().build_max = seconds(5);
  bench.create(one);
  ASSERT_TRUE(bench.until([&] { return bench.domain(one) != nullptr; }));
  const CommandAnswer answer = ask(one, Command::SHUTDOWN);
  EXPECT_EQ(answer.verdict(), CommandAnswer::REJECTED);
  EXPECT_EQ(answer.error_class(), "busy");
}

TEST_F(AgentCommand, AnEndDuringTheStartIsToldOnce) {
  bench.host.profile().die_after_start = 1;
  bench.host.profile().life = milliseconds(1);
  bench.create(one);
  ASSERT_TRUE(bench.until([&] { return bench.hasOutcome(one, Outcome::ENDED); }));
  bench.runFor(seconds(20));
  EXPECT_EQ(bench.outcomes(one, Outcome::STARTED), 1U);
  EXPECT_EQ(bench.outcomes(one, Outcome::ENDED), 1U);
}

TEST_F(AgentCommand, ResumeIsRefusedOnceANewerEpochWasSeen) {
  bench.create(one, true);
  ASSERT_TRUE(bench.until([&] { return bench.hasOutcome(one, Outcome::STARTED); }));
  bench.runFor(seconds(1));
  const AttemptRef newer = AgentBench::ref(1, 2);
  bench.create(newer);
  ASSERT_TRUE(bench.until([&] { return bench.engine.acceptanceOf(newer.attempt).has_value(); }));
  EXPECT_EQ(bench.engine.acceptanceOf(newer.attempt)->error_class(), "already_running");
  const CommandAnswer answer = ask(one, Command::RESUME);
  EXPECT_EQ(answer.verdict(), CommandAnswer::REJECTED);
  EXPECT_EQ(answer.error_class(), "superseded");
  EXPECT_EQ(bench.domain(one)->info.state, DomainState::Paused);
}

TEST_F(AgentCommand, AnUnknownCommandIsRejectedNotFatal) {
  const CommandAnswer answer = ask(one, static_cast<Command::Kind>(77));
  EXPECT_EQ(answer.verdict(), CommandAnswer::REJECTED);
  EXPECT_EQ(bench.engine.hellos.size(), 1U);
}

}  // namespace
}  // namespace vms::hostagent
