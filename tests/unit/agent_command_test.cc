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
    bench_.startAgent();
    ASSERT_TRUE(bench_.untilReady());
  }
  void start(const AttemptRef& ref) {
    bench_.create(ref);
    ASSERT_TRUE(bench_.until([&] { return bench_.hasOutcome(ref, Outcome::STARTED); }));
    // Its own flow lets go of it.
    bench_.runFor(seconds(1));
  }
  CommandAnswer ask(const AttemptRef& ref, Command::Kind kind) {
    const std::size_t before = bench_.engine.answersOf(ref.attempt).size();
    bench_.command(ref, kind);
    EXPECT_TRUE(bench_.until([&] { return bench_.engine.answersOf(ref.attempt).size() > before; }));
    return bench_.engine.answersOf(ref.attempt).back();
  }

  AgentBench bench_;
  const AttemptRef one_ = AgentBench::ref(1);
};

TEST_F(AgentCommand, ForceOffEndsAsIntended) {
  start(one_);
  EXPECT_EQ(ask(one_, Command::FORCE_OFF).verdict(), CommandAnswer::DONE);
  ASSERT_TRUE(bench_.until([&] { return bench_.hasOutcome(one_, Outcome::ENDED); }));
  EXPECT_EQ(bench_.engine.outcomesOf(one_.attempt).back().error_class(), "intended_stop");
  EXPECT_EQ(bench_.engine.outcomesOf(one_.attempt).back().stop_reason(), "destroyed");
  EXPECT_TRUE(bench_.host.domains().empty());
  bench_.runFor(seconds(20));
  EXPECT_EQ(bench_.outcomes(one_, Outcome::ENDED), 1U);
  EXPECT_EQ(ask(one_, Command::FORCE_OFF).verdict(), CommandAnswer::ABSENT);
}

TEST_F(AgentCommand, ForceOffIsKeptOverACrash) {
  start(one_);
  bench_.host.setHung(true);
  EXPECT_EQ(ask(one_, Command::FORCE_OFF).verdict(), CommandAnswer::DONE);
  bench_.crashAgent();
  bench_.host.setHung(false);
  bench_.startAgent();
  ASSERT_TRUE(bench_.until([&] { return bench_.hasOutcome(one_, Outcome::ENDED); }));
  EXPECT_EQ(bench_.engine.outcomesOf(one_.attempt).back().error_class(), "intended_stop");
  EXPECT_TRUE(bench_.host.domains().empty());
}

TEST_F(AgentCommand, ShutdownEndsWhenTheGuestDoes) {
  start(one_);
  EXPECT_EQ(ask(one_, Command::SHUTDOWN).verdict(), CommandAnswer::DONE);
  ASSERT_TRUE(bench_.until([&] { return bench_.hasOutcome(one_, Outcome::ENDED); }));
  EXPECT_EQ(bench_.engine.outcomesOf(one_.attempt).back().stop_reason(), "shutdown");
}

TEST_F(AgentCommand, ACrashIsNotAnIntendedStop) {
  start(one_);
  bench_.host.endGuest(one_.vm, StopReason::Crashed);
  ASSERT_TRUE(bench_.until([&] { return bench_.hasOutcome(one_, Outcome::ENDED); }));
  EXPECT_EQ(bench_.engine.outcomesOf(one_.attempt).back().error_class(), "crashed");
  bench_.runFor(seconds(20));
  EXPECT_EQ(bench_.outcomes(one_, Outcome::ENDED), 1U);
  EXPECT_EQ(bench_.agent().status().running, 0U);
}

TEST_F(AgentCommand, CommandsMustNameTheAttempt) {
  start(one_);
  const AttemptRef other = AgentBench::ref(1, 1, 9);
  const CommandAnswer answer = ask(other, Command::FORCE_OFF);
  EXPECT_EQ(answer.verdict(), CommandAnswer::ABSENT);
  EXPECT_TRUE(bench_.domain(one_)->executing());
}

TEST_F(AgentCommand, ProbeOfTheUnknownSpendsItsEpoch) {
  EXPECT_EQ(ask(one_, Command::PROBE).verdict(), CommandAnswer::ABSENT);
  EXPECT_EQ(bench_.disk.floorOf(one_.vm), one_.epoch);
  bench_.create(one_);
  ASSERT_TRUE(bench_.until([&] { return bench_.engine.acceptanceOf(one_.attempt).has_value(); }));
  EXPECT_EQ(bench_.engine.acceptanceOf(one_.attempt)->error_class(), "superseded");
}

TEST_F(AgentCommand, ProbeTellsThatWhatALostJournalKnewWasMovedAway) {
  start(one_);
  bench_.crashAgent();
  bench_.disk.wipe();
  bench_.host.endGuest(one_.vm, StopReason::Migrated);
  bench_.startAgent();
  ASSERT_TRUE(bench_.untilReady());
  const CommandAnswer first = ask(one_, Command::PROBE);
  EXPECT_EQ(first.verdict(), CommandAnswer::ABSENT);
  EXPECT_EQ(first.stop_reason(), "migrated");
  EXPECT_EQ(ask(one_, Command::PROBE).stop_reason(), "migrated") << "the answer may have been lost";
  // The next one has never been here: the journal would know.
  EXPECT_EQ(ask(AgentBench::ref(1, 2, 2), Command::PROBE).stop_reason(), "");
}

TEST_F(AgentCommand, CancelOfTheUnknownSpendsItsEpoch) {
  EXPECT_EQ(ask(one_, Command::CANCEL).verdict(), CommandAnswer::ABSENT);
  EXPECT_EQ(bench_.disk.floorOf(one_.vm), one_.epoch);
}

TEST_F(AgentCommand, ProbeKnowsNothingWhileTheHypervisorIsAway) {
  bench_.host.stopDaemon(true);
  bench_.runFor(seconds(2));
  EXPECT_EQ(ask(one_, Command::PROBE).verdict(), CommandAnswer::INDETERMINATE);
  EXPECT_EQ(bench_.disk.floorOf(one_.vm), Epoch{});
}

TEST_F(AgentCommand, ProbeTellsWhatRunsAndWhatFailed) {
  start(one_);
  const std::size_t before = bench_.outcomes(one_, Outcome::STARTED);
  EXPECT_EQ(ask(one_, Command::PROBE).verdict(), CommandAnswer::PRESENT);
  ASSERT_TRUE(bench_.until([&] { return bench_.outcomes(one_, Outcome::STARTED) > before; }));

  const AttemptRef two = AgentBench::ref(2);
  bench_.host.curse("vm-2");
  bench_.create(two);
  ASSERT_TRUE(bench_.until([&] { return bench_.hasOutcome(two, Outcome::FAILED); }));
  bench_.runFor(seconds(2));
  EXPECT_EQ(ask(two, Command::PROBE).verdict(), CommandAnswer::ABSENT);
  EXPECT_EQ(bench_.outcomes(two, Outcome::FAILED), 2U) << "the result comes with the answer";
}

TEST_F(AgentCommand, OneOperationPerVmAtATime) {
  bench_.host.profile().build_min = bench_.host.profile().build_max = seconds(5);
  bench_.create(one_);
  ASSERT_TRUE(bench_.until([&] { return bench_.domain(one_) != nullptr; }));
  const CommandAnswer answer = ask(one_, Command::SHUTDOWN);
  EXPECT_EQ(answer.verdict(), CommandAnswer::REJECTED);
  EXPECT_EQ(answer.error_class(), "busy");
}

TEST_F(AgentCommand, AnEndDuringTheStartIsToldOnce) {
  bench_.host.profile().die_after_start = 1;
  bench_.host.profile().life = milliseconds(1);
  bench_.create(one_);
  ASSERT_TRUE(bench_.until([&] { return bench_.hasOutcome(one_, Outcome::ENDED); }));
  bench_.runFor(seconds(20));
  EXPECT_EQ(bench_.outcomes(one_, Outcome::STARTED), 1U);
  EXPECT_EQ(bench_.outcomes(one_, Outcome::ENDED), 1U);
}

TEST_F(AgentCommand, ResumeIsRefusedOnceANewerEpochWasSeen) {
  bench_.create(one_, true);
  ASSERT_TRUE(bench_.until([&] { return bench_.hasOutcome(one_, Outcome::STARTED); }));
  bench_.runFor(seconds(1));
  const AttemptRef newer = AgentBench::ref(1, 2);
  bench_.create(newer);
  ASSERT_TRUE(bench_.until([&] { return bench_.engine.acceptanceOf(newer.attempt).has_value(); }));
  EXPECT_EQ(bench_.engine.acceptanceOf(newer.attempt)->error_class(), "already_running");
  const CommandAnswer answer = ask(one_, Command::RESUME);
  EXPECT_EQ(answer.verdict(), CommandAnswer::REJECTED);
  EXPECT_EQ(answer.error_class(), "superseded");
  EXPECT_EQ(bench_.domain(one_)->info.state, DomainState::Paused);
}

TEST_F(AgentCommand, AnUnknownCommandIsRejectedNotFatal) {
  const CommandAnswer answer = ask(one_, static_cast<Command::Kind>(77));
  EXPECT_EQ(answer.verdict(), CommandAnswer::REJECTED);
  EXPECT_EQ(bench_.engine.hellos.size(), 1U);
}

}  // namespace
}  // namespace vms::hostagent
