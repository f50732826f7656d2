#include <gtest/gtest.h>

#include <memory>

#include "tests/unit/agent_bench.h"

/// What came late is told from a guest that lives.
namespace vms::hostagent {
namespace {

using proto::CommandAnswer;
using proto::Outcome;
using sim::SimDomain;

std::unique_ptr<AgentBench> benchThatRuns(const AttemptRef& one) {
  auto bench = readyBench(3);
  bench->create(one);
  EXPECT_TRUE(bench->until([&] { return bench->hasOutcome(one, Outcome::STARTED); }));
  return bench;
}

bool listsOneForeign(const AgentBench& bench, bool complete) {
  const auto list = bench.engine.lastList(complete);
  return list && list->domains_size() == 1 && list->domains(0).foreign();
}

/// The guest crashes, and a create that was lost is carried out.
void replaceByLateCreate(AgentBench& bench, const AttemptRef& one) {
  const SimDomain ran = *bench.domain(one);
  const DomainSpec spec{one.vm, ran.info.name, "", ran.info.memory, ran.info.vcpus};
  bench.host.endGuest(one.vm, StopReason::Crashed);
  bench.host.create(spec, *ran.info.claim, nullptr);
  EXPECT_TRUE(bench.until([&] {
    return bench.domain(one) != nullptr && bench.domain(one)->info.state == DomainState::Paused;
  }));
}

TEST(AgentLate, NeverRunsADomainWhoseClaimIsSpent) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const AttemptRef one = AgentBench::ref(1);
    const auto bench = readyBench(seed);
    bench->host.profile().build_min = seconds(5);
    bench->host.profile().build_max = seconds(9);
    bench->create(one);
    ASSERT_TRUE(bench->until([&] { return bench->domain(one) != nullptr; }));
    bench->crashAgent();
    bench->startAgent();
    ASSERT_TRUE(bench->untilReady());
    bench->command(one, proto::Command::CANCEL);
    ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(one, Outcome::CANCELLED); }));
    bench->runFor(seconds(60));
    EXPECT_EQ(bench->domain(one), nullptr) << "seed " << seed;
    EXPECT_EQ(bench->resumed[one.attempt], 0) << "seed " << seed;
  }
}

/// A create of the agent's earlier life comes after what it began has run and ended, before the
/// agent has looked.
TEST(AgentLate, EndsWhatALateCreateHasReplaced) {
  const AttemptRef one = AgentBench::ref(1);
  const auto bench = readyBench(3);
  bench->create(one);
  ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(one, Outcome::STARTED); }));
  bench->host.profile().fail_query = 1;
  replaceByLateCreate(*bench, one);
  bench->host.profile().fail_query = 0;
  ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(one, Outcome::ENDED); }));
  EXPECT_EQ(bench->engine.outcomesOf(one.attempt).back().stop_reason(), "crashed");
  EXPECT_EQ(bench->domain(one), nullptr);
  EXPECT_EQ(bench->resumed[one.attempt], 1);
}

TEST(AgentLate, LeavesAGuestAloneThatWasMovedAwayAndBack) {
  const AttemptRef one = AgentBench::ref(1);
  const auto bench = readyBench(3);
  sim::SimHost elsewhere(bench->world, "h2", 4, std::uint64_t{8} << 30U);
  bench->create(one);
  ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(one, Outcome::STARTED); }));
  bench->host.migrate(one.vm, elsewhere);
  ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(one, Outcome::ENDED); }));
  EXPECT_EQ(bench->engine.outcomesOf(one.attempt).back().stop_reason(), "migrated");
  elsewhere.migrate(one.vm, bench->host);
  ASSERT_TRUE(bench->until([&] { return listsOneForeign(*bench, false); }));
  bench->runFor(seconds(10));
  ASSERT_NE(bench->domain(one), nullptr);
  EXPECT_TRUE(bench->domain(one)->executing());
}

TEST(AgentLate, EndsWhatALateCreateHasReplacedWhileItWasAway) {
  const AttemptRef one = AgentBench::ref(1);
  const auto bench = benchThatRuns(one);
  bench->crashAgent();
  replaceByLateCreate(*bench, one);
  bench->startAgent();
  ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(one, Outcome::ENDED); }));
  EXPECT_EQ(bench->domain(one), nullptr);
  EXPECT_EQ(bench->resumed[one.attempt], 1);
}

/// While it comes in it is paused, and its claim is of this boot and spent.
TEST(AgentLate, LeavesAGuestAloneThatIsComingBack) {
  for (const bool restarts : {false, true}) {
    const AttemptRef one = AgentBench::ref(1);
    const auto bench = benchThatRuns(one);
    sim::SimHost elsewhere(bench->world, "h2", 4, std::uint64_t{8} << 30U);
    bench->host.migrate(one.vm, elsewhere);
    ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(one, Outcome::ENDED); }));
    if (restarts) bench->crashAgent();
    elsewhere.migrate(one.vm, bench->host, seconds(20));
    if (restarts) bench->startAgent();
    ASSERT_TRUE(bench->until([&] { return listsOneForeign(*bench, restarts); }));
    EXPECT_FALSE(bench->domain(one)->executing()) << "still coming in";
    bench->runFor(seconds(30));
    ASSERT_NE(bench->domain(one), nullptr) << "restarts: " << restarts;
    EXPECT_TRUE(bench->domain(one)->executing());
  }
}

/// However the host believes that it ended: started again by somebody's hand it lives.
TEST(AgentLate, LeavesAGuestAloneThatRunsUnderAClaimThatEnded) {
  const AttemptRef one = AgentBench::ref(1);
  const auto bench = benchThatRuns(one);
  sim::SimHost elsewhere(bench->world, "h2", 4, std::uint64_t{8} << 30U);
  bench->crashAgent();
  bench->host.migrate(one.vm, elsewhere);
  // The same document, started here and ended once more: what the log of its end says is no word
  // about the guest that was moved.
  bench->host.startForeign(one.vm, "vm-1", std::uint64_t{1} << 30U);
  bench->host.endGuest(one.vm, StopReason::Crashed);
  bench->startAgent();
  ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(one, Outcome::ENDED); }));
  EXPECT_EQ(bench->engine.outcomesOf(one.attempt).back().stop_reason(), "crashed");
  elsewhere.migrate(one.vm, bench->host);
  ASSERT_TRUE(bench->until([&] { return listsOneForeign(*bench, false); }));
  bench->runFor(seconds(10));
  ASSERT_NE(bench->domain(one), nullptr);
  EXPECT_TRUE(bench->domain(one)->executing());
}

/// Said to be absent with the journal lost and the guest elsewhere, then moved back. Its epoch is
/// spent for ever, so a person ends it.
TEST(AgentLate, AProbeDoesNotEndAGuestThatRunsUnderASpentEpoch) {
  const AttemptRef one = AgentBench::ref(1);
  const auto bench = benchThatRuns(one);
  sim::SimHost elsewhere(bench->world, "h2", 4, std::uint64_t{8} << 30U);
  bench->crashAgent();
  bench->disk.wipe();
  bench->host.migrate(one.vm, elsewhere);
  bench->startAgent();
  ASSERT_TRUE(bench->untilReady());
  const auto probe = [&] {
    bench->command(one, proto::Command::PROBE);
    EXPECT_TRUE(bench->until([&] { return bench->answer(one) != nullptr; }));
    return bench->answer(one)->verdict();
  };
  ASSERT_EQ(probe(), CommandAnswer::ABSENT);
  elsewhere.migrate(one.vm, bench->host);
  ASSERT_TRUE(bench->until([&] { return listsOneForeign(*bench, false); }));
  bench->engine.frames.clear();
  EXPECT_EQ(probe(), CommandAnswer::INDETERMINATE);
  bench->runFor(seconds(10));
  ASSERT_NE(bench->domain(one), nullptr);
  EXPECT_TRUE(bench->domain(one)->executing());
  bench->host.endGuest(one.vm, StopReason::Destroyed);
  bench->runFor(seconds(1));
  bench->engine.frames.clear();
  EXPECT_EQ(probe(), CommandAnswer::ABSENT);
}

/// A create was under way when the journal was lost: nobody may let it run, and it never has.
TEST(AgentLate, UndoesWhatNeverRanWhenTheJournalIsLost) {
  const AttemptRef one = AgentBench::ref(1);
  const auto bench = readyBench(3);
  bench->create(one);
  ASSERT_TRUE(bench->until([&] { return bench->domain(one) != nullptr; }));
  bench->crashAgent();
  bench->disk.wipe();
  ASSERT_TRUE(bench->until([&] { return bench->domain(one)->info.state == DomainState::Paused; }));
  bench->startAgent();
  ASSERT_TRUE(bench->untilReady());
  ASSERT_TRUE(bench->until([&] { return bench->domain(one) == nullptr; }));
  EXPECT_EQ(bench->resumed[one.attempt], 0);
  EXPECT_TRUE(bench->engine.outcomesOf(one.attempt).empty());
}

}  // namespace
}  // namespace vms::hostagent
