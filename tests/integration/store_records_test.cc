#include <algorithm>
#include <vector>

#include "tests/integration/store_fixture.h"

namespace vms::test {
namespace {

using runner::AttemptRecord;
using runner::Snapshot;

class StoreRecords : public StoreTest {
 protected:
  void SetUp() override { open(); }
};

TEST_F(StoreRecords, EveryMemberSurvivesARestart) {
  auto request = fullRequest(1);
  auto finished = fullRequest(2);
  finished.finished_at = clock_.wallNow();
  ASSERT_TRUE(commit(fullVm(1), fullVm(2), request, finished, fullItem(1, 0, 1), fullItem(1, 2, 2),
                     fullItem(2, 0, 3), fullRun(1), fullRun(2), fullRun(3), fullAttempt(1),
                     placedAttempt(2), fullHost("host-1"), fullToken("t1")));
  reopen();
  const Snapshot snapshot = load();
  EXPECT_EQ(snapshot.vms, (std::vector{fullVm(1), fullVm(2)}));
  EXPECT_EQ(snapshot.requests, (std::vector{request, finished}));
  EXPECT_EQ(snapshot.items, (std::vector{fullItem(1, 0, 1), fullItem(1, 2, 2), fullItem(2, 0, 3)}));
  EXPECT_EQ(snapshot.runs, (std::vector{fullRun(1), fullRun(2), fullRun(3)}));
  EXPECT_EQ(snapshot.attempts, (std::vector{fullAttempt(1), placedAttempt(2)}));
  EXPECT_EQ(snapshot.hosts, std::vector{fullHost("host-1")});
  EXPECT_EQ(snapshot.tokens, std::vector{fullToken("t1")});
}

TEST_F(StoreRecords, EmptyMembersSurviveToo) {
  runner::VmRecord vm;
  vm.spec.id = {uuidOf(1, 1)};
  runner::RequestRecord request;
  request.id = {uuidOf(2, 1)};
  runner::RunRecord run;
  run.id = {uuidOf(3, 1)};
  AttemptRecord attempt;
  attempt.ref.attempt = {uuidOf(4, 1)};
  runner::HostRecord host;
  host.id = "h";
  runner::TokenRecord token;
  token.id = "t";
  ASSERT_TRUE(commit(vm, request, run, attempt, host, token));
  reopen();
  const Snapshot snapshot = load();
  EXPECT_EQ(snapshot.vms, std::vector{vm});
  EXPECT_EQ(snapshot.requests, std::vector{request});
  EXPECT_EQ(snapshot.runs, std::vector{run});
  EXPECT_EQ(snapshot.attempts, std::vector{attempt});
  EXPECT_EQ(snapshot.hosts, std::vector{host});
  EXPECT_EQ(snapshot.tokens, std::vector{token});
}

TEST_F(StoreRecords, AnUpsertReplacesTheWholeRow) {
  auto vm = fullVm(1);
  auto request = fullRequest(1);
  auto run = fullRun(1);
  auto attempt = fullAttempt(1);
  ASSERT_TRUE(commit(vm, request, run, attempt, fullHost("h"), fullToken("t")));

  runner::VmRecord vm_after;
  vm_after.spec.id = vm.spec.id;
  vm_after.spec.name = "renamed";
  vm_after.xml = "<domain/>";
  vm_after.epoch = vm.epoch;
  runner::RequestRecord request_after;
  request_after.id = request.id;
  runner::RunRecord run_after;
  run_after.id = run.id;
  run_after.state = RunState::Queued;
  AttemptRecord attempt_after;
  attempt_after.ref = attempt.ref;
  attempt_after.host = attempt.host;
  attempt_after.request = attempt.request;
  attempt_after.reason = attempt.reason;
  attempt_after.requested_at = attempt.requested_at;
  attempt_after.state = AttemptState::Unknown;
  runner::HostRecord host_after;
  host_after.id = "h";
  runner::TokenRecord token_after;
  token_after.id = "t";
  ASSERT_TRUE(commit(vm_after, request_after, run_after, attempt_after, host_after, token_after));
  reopen();
  const Snapshot snapshot = load();
  EXPECT_EQ(snapshot.vms, std::vector{vm_after});
  EXPECT_EQ(snapshot.requests, std::vector{request_after});
  EXPECT_EQ(snapshot.runs, std::vector{run_after});
  EXPECT_EQ(snapshot.attempts, std::vector{attempt_after});
  EXPECT_EQ(snapshot.hosts, std::vector{host_after});
  EXPECT_EQ(snapshot.tokens, std::vector{token_after});
}

TEST_F(StoreRecords, BackOffsAreRoundedUp) {
  auto run = fullRun(1);
  run.backoff = Duration(1);
  ASSERT_TRUE(commit(run));
  reopen();
  EXPECT_EQ(load().runs.at(0).backoff, milliseconds(1));
}

TEST_F(StoreRecords, OldFinishedRequestsAreNotLoadedButOpenRunsAlwaysAre) {
  auto old = fullRequest(1);
  old.finished_at = clock_.wallNow() - std::chrono::hours(25);
  auto over = fullRun(1);
  over.state = RunState::Failed;
  auto open_run = fullRun(2);
  ASSERT_TRUE(commit(old, fullItem(1, 0, 1), over, open_run));
  reopen();
  const Snapshot snapshot = load();
  EXPECT_TRUE(snapshot.requests.empty());
  EXPECT_TRUE(snapshot.items.empty());
  EXPECT_EQ(snapshot.runs, std::vector{open_run});
}

TEST_F(StoreRecords, ARunSharedByTwoRequestsIsLoadedOnce) {
  auto second = fullItem(2, 0, 1);
  ASSERT_TRUE(commit(fullRequest(1), fullRequest(2), fullItem(1, 0, 1), second, fullRun(1)));
  reopen();
  const Snapshot snapshot = load();
  EXPECT_EQ(snapshot.items.size(), 2U);
  EXPECT_EQ(snapshot.runs.size(), 1U);
}

TEST_F(StoreRecords, FinalAttemptsAreBoundedPerHostAndTheNewestAreKept) {
  std::vector<runner::Change> changes;
  for (std::uint64_t i = 0; i < 250; ++i) {
    for (const char* const host : {"a", "b"}) {
      auto attempt = placedAttempt(i * 2 + (host[0] == 'b' ? 1 : 0));
      attempt.host = host;
      attempt.requested_at = {static_cast<std::int64_t>(i)};
      attempt.placed_at = {static_cast<std::int64_t>(i)};
      attempt.state = AttemptState::Refused;
      changes.emplace_back(attempt);
    }
  }
  auto open_attempt = placedAttempt(1000);
  open_attempt.host = "a";
  open_attempt.requested_at = {0};
  changes.emplace_back(open_attempt);
  ASSERT_TRUE(await(store_->commit(changes)));
  reopen();
  const Snapshot snapshot = load();
  EXPECT_EQ(snapshot.attempts.size(), 401U);
  const auto oldest = std::count_if(
      snapshot.attempts.begin(), snapshot.attempts.end(),
      [](const AttemptRecord& a) { return isFinal(a.state) && a.requested_at.unix_ms < 50; });
  EXPECT_EQ(oldest, 0);
  EXPECT_TRUE(std::is_sorted(
      snapshot.attempts.begin(), snapshot.attempts.end(),
      [](const AttemptRecord& a, const AttemptRecord& b) { return a.placed_at < b.placed_at; }));
}

TEST(Outcome, FollowsFromHowAnAttemptEnded) {
  AttemptRecord attempt = placedAttempt(1);
  EXPECT_EQ(outcomeOf(attempt), "");
  attempt.state = AttemptState::Unknown;
  EXPECT_EQ(outcomeOf(attempt), "");
  attempt.state = AttemptState::Dropped;
  EXPECT_EQ(outcomeOf(attempt), "cancelled");
  attempt.error_class = ErrorClass::Deadline;
  EXPECT_EQ(outcomeOf(attempt), "failed");
  attempt.state = AttemptState::Failed;
  attempt.error_class = ErrorClass::HostRejected;
  EXPECT_EQ(outcomeOf(attempt), "failed");
  attempt.error_class = ErrorClass::Cancelled;
  EXPECT_EQ(outcomeOf(attempt), "cancelled");
  attempt.state = AttemptState::Ended;
  attempt.error_class.reset();
  attempt.proof = Proof::Fenced;
  EXPECT_EQ(outcomeOf(attempt), "failed");
  attempt.running_at = WallTime{5};
  EXPECT_EQ(outcomeOf(attempt), "succeeded");
}

}  // namespace
}  // namespace vms::test
