#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <set>
#include <vector>

#include "tests/integration/store_fixture.h"

namespace vms::test {
namespace {

using runner::AttemptRecord;
using runner::RunRecord;
using testing::HasSubstr;

class StoreCommit : public StoreTest {
 protected:
  /// What happens to a process that opens the store and commits these, one transaction each.
  ChildEnd committing(std::vector<std::vector<runner::Change>> transactions) {
    return inChild([&] {
      auto opened = tryOpen();
      if (!opened) return 2;
      for (auto& changes : transactions) {
        if (!await((*opened)->commit(std::move(changes)))) return 3;
      }
      return 0;
    });
  }
  static AttemptRecord in(AttemptState state) {
    AttemptRecord attempt = placedAttempt(1);
    attempt.state = state;
    return attempt;
  }
  static RunRecord in(RunState state) {
    RunRecord run = fullRun(1);
    run.state = state;
    return run;
  }
};

TEST_F(StoreCommit, ALifeWithoutDetoursIsAccepted) {
  const auto end = committing({{in(AttemptState::Placed), in(RunState::Active)},
                               {in(AttemptState::Sent)},
                               {in(AttemptState::Sent)},
                               {in(AttemptState::Building)},
                               {in(AttemptState::Running), in(RunState::Succeeded)},
                               {in(AttemptState::Ended)},
                               {in(AttemptState::Ended)}});
  EXPECT_TRUE(end.exitedWith(0)) << end.text;
}

TEST_F(StoreCommit, StatesPassedWithinOneTurnCount) {
  const auto end = committing({{in(AttemptState::Sent), in(RunState::Active)},
                               {in(AttemptState::Staged), in(AttemptState::Building)},
                               {in(AttemptState::Staged)},
                               {in(AttemptState::Ready)},
                               {in(RunState::Running), in(RunState::Queued)}});
  EXPECT_TRUE(end.exitedWith(0)) << end.text;
}

TEST_F(StoreCommit, WhatWasNotDurablySentCannotRun) {
  const auto end = committing({{in(AttemptState::Placed)}, {in(AttemptState::Running)}});
  EXPECT_TRUE(end.aborted()) << end.status;
  EXPECT_THAT(end.text, HasSubstr("cannot go from placed to running"));
  EXPECT_THAT(end.text, HasSubstr(in(AttemptState::Placed).ref.attempt.str()));
}

TEST_F(StoreCommit, NothingLeavesAFinalState) {
  auto end = committing({{in(AttemptState::Failed)}, {in(AttemptState::Building)}});
  EXPECT_TRUE(end.aborted());
  EXPECT_THAT(end.text, HasSubstr("cannot go from failed to building"));
  end = committing({{in(RunState::Cancelled)}, {in(RunState::Queued)}});
  EXPECT_TRUE(end.aborted());
  EXPECT_THAT(end.text, HasSubstr("cannot go from cancelled to queued"));
}

TEST_F(StoreCommit, WhatWasSentIsNeverUnsentOrDropped) {
  for (const AttemptState state : {AttemptState::Placed, AttemptState::Dropped}) {
    options_.path = folder_ / (std::string(nameOf(state)) + ".db");
    const auto end = committing({{in(AttemptState::Sent)}, {in(state)}});
    EXPECT_TRUE(end.aborted());
    EXPECT_THAT(end.text, HasSubstr("cannot go from sent to"));
  }
}

TEST_F(StoreCommit, TransitionsAreCheckedAgainstTheLifeBefore) {
  open();
  ASSERT_TRUE(commit(in(AttemptState::Running)));
  close();
  const auto end = committing({{in(AttemptState::Sent)}});
  EXPECT_TRUE(end.aborted());
  EXPECT_THAT(end.text, HasSubstr("cannot go from running to sent"));
}

TEST_F(StoreCommit, AnIllegalChangeTakesItsWholeTransactionAlong) {
  const auto end = committing({{in(RunState::Cancelled)}, {fullHost("h"), in(RunState::Queued)}});
  EXPECT_TRUE(end.aborted());
  open();
  EXPECT_TRUE(load().hosts.empty());
}

TEST_F(StoreCommit, EpochsNeverGoBack) {
  auto lower = fullVm(1);
  --lower.epoch.value;
  const auto end = committing({{fullVm(1)}, {fullVm(1)}, {lower}});
  EXPECT_TRUE(end.aborted());
  EXPECT_THAT(end.text, HasSubstr("goes back to 11"));
}

TEST_F(StoreCommit, AnEpochAloneChangesNothingElse) {
  open();
  auto vm = fullVm(1);
  ASSERT_TRUE(commit(vm));
  vm.epoch.value += 1;
  ASSERT_TRUE(commit(runner::VmEpochRecord{vm.spec.id, vm.epoch}));
  reopen();
  EXPECT_EQ(load().vms, std::vector{vm});
}

TEST_F(StoreCommit, AnEpochAloneNeverGoesBack) {
  const auto vm = fullVm(1);
  const runner::VmEpochRecord lower{vm.spec.id, {vm.epoch.value - 1}};
  const auto end = committing({{vm}, {lower}});
  EXPECT_TRUE(end.aborted());
  EXPECT_THAT(end.text, HasSubstr("goes back to 11"));
}

TEST_F(StoreCommit, AnAttemptKeepsItsIdentity) {
  auto moved = placedAttempt(1);
  moved.host = "elsewhere";
  const auto end = committing({{placedAttempt(1)}, {moved}});
  EXPECT_TRUE(end.aborted());
  EXPECT_THAT(end.text, HasSubstr("changes its vm, epoch, host"));
}

TEST_F(StoreCommit, ADefinitionIsReplacedWhenItChangesOnly) {
  open();
  auto vm = fullVm(1);
  ASSERT_TRUE(commit(vm));
  vm.epoch.value += 1;
  ASSERT_TRUE(commit(vm));
  vm.xml += "<!-- other -->";
  ASSERT_TRUE(commit(vm));
  reopen();
  EXPECT_EQ(load().vms, std::vector{vm});
}

TEST_F(StoreCommit, EveryAcknowledgedCommitSurvivesAKill) {
  for (const int wanted : {1, 7, 60}) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      ::close(pipe[0]);
      auto opened = tryOpen();
      if (!opened) ::_exit(2);
      for (;;) {
        // Several rows, so that a half-done transaction would show.
        const std::string name = std::to_string(wanted) + "-";
        static std::uint64_t count = 0;
        ++count;
        auto vm = fullVm(count);
        vm.epoch = {count};
        std::vector<runner::Change> changes{fullHost(name + std::to_string(count)), vm,
                                            fullToken(name + std::to_string(count))};
        const auto done = await((*opened)->commit(std::move(changes)));
        if (!done || ::write(pipe[1], &count, sizeof count) != sizeof count) ::_exit(3);
      }
    }
    ::close(pipe[1]);
    std::uint64_t acknowledged = 0;
    std::uint64_t number = 0;
    int seen = 0;
    while (::read(pipe[0], &number, sizeof number) == sizeof number) {
      acknowledged = number;
      if (++seen == wanted) ::kill(pid, SIGKILL);
    }
    ::close(pipe[0]);
    int status = 0;
    ::waitpid(pid, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << status;

    open();
    const auto snapshot = load();
    std::set<std::string> hosts, tokens;
    for (const auto& host : snapshot.hosts) hosts.insert(host.id);
    for (const auto& token : snapshot.tokens) tokens.insert(token.id);
    EXPECT_EQ(hosts, tokens) << "a transaction was durable in part";
    for (std::uint64_t i = 1; i <= acknowledged; ++i) {
      EXPECT_TRUE(hosts.contains(std::to_string(wanted) + "-" + std::to_string(i))) << i;
    }
    EXPECT_GE(snapshot.vms.size(), acknowledged);
    EXPECT_FALSE(snapshot.marks.restored);
    close();
    options_.path = folder_ / ("engine-" + std::to_string(wanted) + ".db");
    std::filesystem::remove(folder_ / "marks.json");
  }
}

TEST_F(StoreCommit, ManyCommitsMoveTheLogIntoTheFile) {
  open();
  for (int i = 0; i < 40; ++i) {
    std::vector<runner::Change> changes;
    for (std::uint64_t j = 0; j < 100; ++j) {
      auto vm = fullVm(j);
      vm.epoch = {static_cast<std::uint64_t>(i + 12)};
      vm.xml += std::to_string(i);
      changes.emplace_back(std::move(vm));
    }
    ASSERT_TRUE(await(store_->commit(std::move(changes))));
  }
  // Each commit rewrites about 300 pages; without checkpoints the log would keep all of them.
  EXPECT_LT(std::filesystem::file_size(folder_ / "engine.db-wal"), 28U << 20U);
  reopen();
  EXPECT_EQ(load().vms.size(), 100U);
}

}  // namespace
}  // namespace vms::test
