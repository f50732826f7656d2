#include <gtest/gtest.h>

#include "tests/unit/agent_bench.h"

namespace vms::hostagent {
namespace {

using proto::CommandAnswer;
using proto::Outcome;

void takeSteps(AgentBench& bench, std::uint64_t steps) {
  for (std::uint64_t i = 0; i < steps; ++i) bench.world.step(bench.world.now() + seconds(60));
}

/// How many events pass from a create to its acknowledged result.
std::uint64_t stepsOfOneStart() {
  const AttemptRef one = AgentBench::ref(1);
  const auto bench = readyBench(5);
  const std::uint64_t before = bench->world.steps();
  bench->create(one);
  EXPECT_TRUE(bench->until([&] {
    return bench->hasOutcome(one, Outcome::STARTED) && bench->agent().status().unacknowledged == 0;
  }));
  return bench->world.steps() - before;
}

/// Whatever the agent claimed must end in exactly one truth.
void expectOneTruth(AgentBench& bench, const AttemptRef& ref, const std::string& where) {
  const ClaimRecord* const record = bench.disk.find(ref.attempt);
  if (record == nullptr) {
    EXPECT_EQ(bench.domain(ref), nullptr) << where;
    EXPECT_EQ(bench.appeared[ref.attempt], 0) << where;
    return;
  }
  const bool done = bench.until([&] {
    return bench.hasOutcome(ref, Outcome::STARTED) || bench.hasOutcome(ref, Outcome::CANCELLED) ||
           bench.hasOutcome(ref, Outcome::FAILED);
  });
  ASSERT_TRUE(done) << where << ": no outcome, phase " << static_cast<int>(record->phase);
  bench.runFor(seconds(10));
  const bool started = bench.hasOutcome(ref, Outcome::STARTED);
  EXPECT_NE(started,
            bench.hasOutcome(ref, Outcome::CANCELLED) || bench.hasOutcome(ref, Outcome::FAILED))
      << where << ": two truths";
  if (started) {
    ASSERT_NE(bench.domain(ref), nullptr) << where;
    EXPECT_TRUE(bench.domain(ref)->executing()) << where;
  } else {
    EXPECT_EQ(bench.domain(ref), nullptr) << where;
    EXPECT_EQ(bench.resumed[ref.attempt], 0) << where << ": it executed and was called off";
  }
  EXPECT_LE(bench.resumed[ref.attempt], 1) << where;
  EXPECT_EQ(bench.agent().status().unacknowledged, 0U) << where;
}

TEST(AgentRecover, SurvivesACrashAtEveryStep) {
  const AttemptRef one = AgentBench::ref(1);
  const std::uint64_t steps = stepsOfOneStart();
  ASSERT_GT(steps, 20U);
  int claimed = 0;
  for (std::uint64_t n = 0; n <= steps; ++n) {
    const auto bench = readyBench(5);
    bench->create(one);
    takeSteps(*bench, n);
    bench->crashAgent();
    bench->startAgent();
    ASSERT_TRUE(bench->untilReady());
    const std::string where = "crash after step " + std::to_string(n);
    expectOneTruth(*bench, one, where);
    if (bench->disk.find(one.attempt) == nullptr) continue;
    ++claimed;
    EXPECT_TRUE(bench->hasOutcome(one, Outcome::STARTED)) << where;
  }
  EXPECT_GT(claimed, 10) << "most crashes come after the claim";
}

TEST(AgentRecover, CancelsAtEveryStepOrSaysTooLate) {
  const AttemptRef one = AgentBench::ref(1);
  const std::uint64_t steps = stepsOfOneStart();
  int cancelled = 0;
  int late = 0;
  for (std::uint64_t n = 0; n <= steps; ++n) {
    const auto bench = readyBench(5);
    bench->create(one);
    takeSteps(*bench, n);
    bench->command(one, proto::Command::CANCEL);
    const std::string where = "cancel after step " + std::to_string(n);
    ASSERT_TRUE(bench->until([&] { return bench->answer(one) != nullptr; })) << where;
    const CommandAnswer::Verdict verdict = bench->answer(one)->verdict();
    expectOneTruth(*bench, one, where);
    const bool started = bench->hasOutcome(one, Outcome::STARTED);
    if (verdict == CommandAnswer::TOO_LATE) {
      EXPECT_TRUE(started) << where;
      ++late;
    } else {
      EXPECT_EQ(verdict, CommandAnswer::DONE) << where;
      EXPECT_TRUE(bench->hasOutcome(one, Outcome::CANCELLED)) << where;
      ++cancelled;
    }
  }
  EXPECT_GT(cancelled, 5);
  EXPECT_GT(late, 0);
}

TEST(AgentRecover, KeepsACancelWishOverACrash) {
  const AttemptRef one = AgentBench::ref(1);
  const std::uint64_t steps = stepsOfOneStart();
  for (std::uint64_t n = 0; n <= steps; n += 2) {
    const auto bench = readyBench(5);
    bench->create(one);
    takeSteps(*bench, n);
    bench->command(one, proto::Command::CANCEL);
    if (!bench->until([&] { return bench->answer(one) != nullptr; })) continue;
    const CommandAnswer::Verdict verdict = bench->answer(one)->verdict();
    bench->crashAgent();
    bench->startAgent();
    ASSERT_TRUE(bench->untilReady());
    const std::string where = "cancel after step " + std::to_string(n) + ", then a crash";
    expectOneTruth(*bench, one, where);
    if (verdict == CommandAnswer::DONE) {
      EXPECT_FALSE(bench->hasOutcome(one, Outcome::STARTED)) << where;
    }
  }
}

TEST(AgentRecover, SettlesALostCreateOneWayOrTheOther) {
  int started = 0;
  int failed = 0;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    const AttemptRef one = AgentBench::ref(1);
    const auto bench = readyBench(seed);
    bench->host.profile().lose_create = 1;
    bench->create(one);
    bench->runFor(seconds(12));
    bench->host.profile().lose_create = seed % 2 == 0 ? 1 : 0;
    const std::string where = "seed " + std::to_string(seed);
    ASSERT_TRUE(bench->until(
        [&] {
          return bench->hasOutcome(one, Outcome::STARTED) ||
                 bench->hasOutcome(one, Outcome::FAILED);
        },
        seconds(600)))
        << where;
    expectOneTruth(*bench, one, where);
    started += bench->hasOutcome(one, Outcome::STARTED) ? 1 : 0;
    failed += bench->hasOutcome(one, Outcome::FAILED) ? 1 : 0;
  }
  EXPECT_GT(started, 0);
  RecordProperty("failed", failed);
}

TEST(AgentRecover, FinishesWhatAHypervisorRestartInterrupted) {
  for (const bool killed : {false, true}) {
    const AttemptRef one = AgentBench::ref(1);
    const auto bench = readyBench(9);
    bench->create(one);
    ASSERT_TRUE(bench->until([&] { return bench->domain(one) != nullptr; }));
    bench->host.stopDaemon(killed);
    bench->runFor(seconds(30));
    EXPECT_EQ(bench->engine.beat->readiness(), proto::HYPERVISOR_AWAY);
    EXPECT_FALSE(bench->hasOutcome(one, Outcome::FAILED)) << "nobody knows yet";
    bench->host.startDaemon();
    ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(one, Outcome::STARTED); }));
    EXPECT_TRUE(bench->domain(one)->executing());
  }
}

TEST(AgentRecover, FailsWhatTouchedNothingWhileTheHypervisorStaysAway) {
  const auto bench = readyBench(9);
  const AttemptRef one = AgentBench::ref(1);
  bench->host.profile().build_min = bench->host.profile().build_max = seconds(2);
  std::vector<proto::CreateItem> items;
  for (std::uint8_t i = 1; i <= 9; ++i) items.push_back(AgentBench::item(AgentBench::ref(i)));
  bench->create(items);
  ASSERT_TRUE(bench->until([&] { return bench->domain(one) != nullptr; }));
  bench->host.stopDaemon(true);
  const AttemptRef last = AgentBench::ref(9);
  ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(last, Outcome::FAILED); }));
  EXPECT_EQ(bench->engine.outcomesOf(last.attempt).at(0).error_class(), "host_not_ready");
  EXPECT_EQ(bench->appeared[last.attempt], 0);
}

TEST(AgentRecover, LeavesAForeignDomainAlone) {
  const auto bench = readyBench(3);
  const AttemptRef one = AgentBench::ref(1);
  bench->host.startForeign(one.vm, "vm-1", 1U << 20U);
  ASSERT_TRUE(bench->until([&] {
    const auto list = bench->engine.lastList(false);
    return list && list->domains_size() == 1 && list->domains(0).foreign();
  }));
  bench->create(one);
  ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(one, Outcome::FAILED); }));
  EXPECT_EQ(bench->engine.outcomesOf(one.attempt).at(0).error_class(), "foreign");
  bench->crashAgent();
  bench->engine.frames.clear();
  bench->startAgent();
  ASSERT_TRUE(bench->untilReady());
  ASSERT_TRUE(bench->until([&] { return bench->engine.lastList(true).has_value(); }));
  ASSERT_EQ(bench->engine.lastList(true)->domains_size(), 1);
  EXPECT_TRUE(bench->engine.lastList(true)->domains(0).foreign());
  EXPECT_EQ(bench->host.domains().size(), 1U);
}

TEST(AgentRecover, TellsThatAForeignDomainHasMovedOn) {
  const auto bench = readyBench(3);
  const AttemptRef moved = AgentBench::ref(1);
  const AttemptRef ended = AgentBench::ref(2);
  bench->host.startForeign(moved.vm, "vm-1", 1U << 20U);
  bench->host.startForeign(ended.vm, "vm-2", 1U << 20U);
  const auto told = [&](const AttemptRef& ref) {
    for (const proto::Frame& frame : bench->engine.frames) {
      for (const proto::Domain& domain : frame.domain_list().domains()) {
        if (domain.ref().vm() == ref.vm.uuid.toBytes()) return true;
      }
    }
    return false;
  };
  ASSERT_TRUE(bench->until([&] { return told(moved) && told(ended); }));
  bench->host.endGuest(moved.vm, StopReason::Migrated);
  bench->host.endGuest(ended.vm, StopReason::Shutdown);
  ASSERT_TRUE(bench->until([&] {
    const auto list = bench->engine.lastList(true);
    return list && list->domains_size() == 0 && list->moved_on_size() == 1;
  }));
  EXPECT_EQ(bench->engine.lastList(true)->moved_on(0).ref().vm(), moved.vm.uuid.toBytes());
  // It comes back: it is here again, and nowhere else.
  bench->engine.frames.clear();
  bench->host.startForeign(moved.vm, "vm-1", 1U << 20U);
  ASSERT_TRUE(bench->until([&] { return told(moved); }));
  bench->host.endGuest(moved.vm, StopReason::Shutdown);
  ASSERT_TRUE(bench->until([&] {
    const auto list = bench->engine.lastList(true);
    return list && list->moved_on_size() == 0;
  }));
}

TEST(AgentRecover, AdoptsItsDomainsWhenTheJournalIsLost) {
  const auto bench = readyBench(3);
  const AttemptRef one = AgentBench::ref(1);
  bench->create(one);
  ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(one, Outcome::STARTED); }));
  bench->crashAgent();
  bench->disk.wipe();
  bench->engine.frames.clear();
  bench->startAgent();
  ASSERT_TRUE(bench->untilReady());
  ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(one, Outcome::STARTED); }));
  ASSERT_TRUE(bench->until([&] { return bench->engine.lastList(true).has_value(); }));
  EXPECT_FALSE(bench->engine.lastList(true)->domains(0).foreign());
  EXPECT_EQ(bench->disk.floorOf(one.vm), one.epoch);
  EXPECT_EQ(bench->resumed[one.attempt], 1);
}

TEST(AgentRecover, HoldsWhatIsDyingWhenTheJournalIsLost) {
  const auto bench = readyBench(3);
  const AttemptRef one = AgentBench::ref(1);
  bench->create(one, true);
  ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(one, Outcome::STARTED); }));
  bench->crashAgent();
  bench->disk.wipe();
  bench->engine.frames.clear();
  bench->host.profile().destroy_min = bench->host.profile().destroy_max = seconds(30);
  bench->host.destroy(one, [](const Result<void>&) {});
  bench->startAgent();
  ASSERT_TRUE(bench->untilReady());
  const auto listed = [&](int count) {
    const auto list = bench->engine.lastList(true);
    return list && list->domains_size() == count;
  };
  ASSERT_TRUE(bench->until([&] { return listed(1); }));
  EXPECT_TRUE(bench->engine.lastList(true)->domains(0).foreign());
  ASSERT_TRUE(bench->until([&] { return listed(0); }));
  EXPECT_EQ(bench->domain(one), nullptr);
  EXPECT_TRUE(bench->engine.outcomesOf(one.attempt).empty()) << "it may never have run";
}

TEST(AgentRecover, ReportsWhatEndedWhileItWasAway) {
  const auto bench = readyBench(3);
  const AttemptRef one = AgentBench::ref(1);
  const AttemptRef two = AgentBench::ref(2);
  bench->create({AgentBench::item(one), AgentBench::item(two)});
  ASSERT_TRUE(bench->until([&] {
    return bench->hasOutcome(one, Outcome::STARTED) && bench->hasOutcome(two, Outcome::STARTED);
  }));
  bench->crashAgent();
  bench->host.endGuest(one.vm, StopReason::Crashed);
  bench->host.endGuest(two.vm, StopReason::Shutdown);
  bench->startAgent();
  ASSERT_TRUE(bench->untilReady());
  ASSERT_TRUE(bench->until([&] {
    return bench->hasOutcome(one, Outcome::ENDED) && bench->hasOutcome(two, Outcome::ENDED);
  }));
  EXPECT_EQ(bench->engine.outcomesOf(one.attempt).back().error_class(), "crashed");
  EXPECT_EQ(bench->engine.outcomesOf(two.attempt).back().error_class(), "intended_stop");
  EXPECT_EQ(bench->engine.outcomesOf(two.attempt).back().stop_reason(), "shutdown");
}

TEST(AgentRecover, EndsEverythingAfterAReboot) {
  const auto bench = readyBench(3);
  bench->host.profile().build_min = bench->host.profile().build_max = seconds(2);
  const AttemptRef ran = AgentBench::ref(1);
  const AttemptRef building = AgentBench::ref(2);
  bench->create(ran);
  ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(ran, Outcome::STARTED); }));
  bench->create(building);
  ASSERT_TRUE(bench->until([&] { return bench->domain(building) != nullptr; }));
  bench->crashAgent();
  bench->host.powerOff();
  bench->network.powerOff("h1");
  bench->runFor(seconds(30));
  bench->host.powerOn();
  bench->startAgent();
  ASSERT_TRUE(bench->untilReady());
  ASSERT_TRUE(bench->until([&] {
    return bench->hasOutcome(ran, Outcome::ENDED) && bench->hasOutcome(building, Outcome::FAILED);
  }));
  bench->runFor(seconds(30));
  EXPECT_TRUE(bench->host.domains().empty()) << "nothing of the old boot is continued";
  EXPECT_EQ(bench->engine.outcomesOf(ran.attempt).back().error_class(), "crashed");
}

TEST(AgentRecover, TellsWhatHadLeftBeforeAReboot) {
  const auto bench = readyBench(3);
  const AttemptRef moved = AgentBench::ref(1);
  bench->create(moved);
  ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(moved, Outcome::STARTED); }));
  bench->crashAgent();
  bench->host.endGuest(moved.vm, StopReason::Migrated);
  bench->host.powerOff();
  bench->network.powerOff("h1");
  bench->runFor(seconds(30));
  bench->host.powerOn();
  bench->startAgent();
  ASSERT_TRUE(bench->untilReady());
  ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(moved, Outcome::ENDED); }));
  EXPECT_EQ(bench->engine.outcomesOf(moved.attempt).back().stop_reason(), "migrated");
}

TEST(AgentRecover, ResumesOnlyWhatHadNotRun) {
  const auto bench = readyBench(3);
  const AttemptRef one = AgentBench::ref(1);
  bench->create(one, true);
  ASSERT_TRUE(bench->until([&] { return bench->hasOutcome(one, Outcome::STARTED); }));
  bench->crashAgent();
  bench->startAgent();
  ASSERT_TRUE(bench->untilReady());
  bench->runFor(seconds(20));
  EXPECT_EQ(bench->domain(one)->info.state, DomainState::Paused);
}

}  // namespace
}  // namespace vms::hostagent
