#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "runner/sqlite_pruner.h"
#include "tests/integration/store_fixture.h"

namespace vms::test {
namespace {

using runner::AttemptRecord;
using runner::HistoryPruner;
using runner::HistoryQuery;
using testing::IsEmpty;

constexpr WallTime kNow{1'800'000'000'000};

AttemptRecord endedAttempt(std::uint64_t number) {
  auto attempt = placedAttempt(number);
  attempt.requested_at = {static_cast<std::int64_t>(number)};
  attempt.state = AttemptState::Refused;
  return attempt;
}

runner::RunRecord endedRun(std::uint64_t number) {
  auto run = fullRun(number);
  run.state = RunState::Failed;
  return run;
}

/// Finished attempts with their runs, requests of ten, all old.
std::vector<runner::Change> oldHistory(std::uint64_t first, std::uint64_t count) {
  std::vector<runner::Change> changes;
  for (std::uint64_t i = first; i < first + count; ++i) {
    auto attempt = endedAttempt(i);
    attempt.request = {uuidOf(2, i / 10)};
    auto run = endedRun(i);
    run.request = attempt.request;
    if (i % 10 == 0) {
      auto request = fullRequest(i / 10);
      request.finished_at = WallTime{static_cast<std::int64_t>(i)};
      changes.emplace_back(request);
    }
    changes.emplace_back(fullItem(i / 10, static_cast<std::uint32_t>(i % 10), i));
    changes.emplace_back(attempt);
    changes.emplace_back(run);
  }
  return changes;
}

class StoreRetention : public StoreTest {
 protected:
  std::vector<AttemptRecord> attempts() {
    HistoryQuery query;
    std::vector<AttemptRecord> all;
    for (;;) {
      const auto page = await(store_->history(query));
      EXPECT_TRUE(page);
      if (!page) return all;
      all.insert(all.end(), page->attempts.begin(), page->attempts.end());
      if (page->next_cursor.empty()) return all;
      query.cursor = page->next_cursor;
    }
  }
  /// Slices until one removes nothing; the rows that all removed.
  std::size_t pruneAll() {
    std::size_t all = 0;
    for (;;) {
      const auto removed = await(store_->prune(kNow));
      EXPECT_TRUE(removed);
      if (!removed || *removed == 0) return all;
      EXPECT_LE(*removed, HistoryPruner::kMostRows);
      all += *removed;
    }
  }
  /// In small commits, each of which leaves the log small.
  void commitOldHistory(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; i += 20) {
      ASSERT_TRUE(await(store_->commit(oldHistory(i, 20))));
    }
  }
  std::int64_t ask(const std::string& sql) {
    SQLite::Database reader(options_.path.string(), SQLite::OPEN_READONLY);
    SQLite::Statement statement(reader, sql);
    return statement.executeStep() ? statement.getColumn(0).getInt64() : -1;
  }
};

/// Notes what the store's writer does: it looks at the wall clock once for each slice and at the
/// other one only, and always equally often, for a commit.
class WatchingClock final : public Clock {
 public:
  TimePoint now() const override {
    note('C');
    return {Duration(now_ns.load())};
  }
  WallTime wallNow() const override {
    note('S');
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !held_; });
    return kNow;
  }
  asio::awaitable<void> sleepUntil(TimePoint) override { co_return; }

  /// Notes from now on, and holds the next slice.
  void hold() {
    const std::lock_guard lock(mutex_);
    notes_.emplace();
    held_ = true;
  }
  void go() {
    const std::lock_guard lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }
  /// Until a slice has begun; what went before it.
  std::string waitForSlice() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return notes_->ends_with('S'); });
    return notes_->substr(0, notes_->size() - 1);
  }
  std::string notes() const {
    const std::lock_guard lock(mutex_);
    return *notes_;
  }

  std::atomic<std::int64_t> now_ns = 1;

 private:
  void note(char what) const {
    const std::lock_guard lock(mutex_);
    if (notes_) notes_->push_back(what);
    changed_.notify_all();
  }

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  mutable std::optional<std::string> notes_;
  bool held_ = false;
};

TEST_F(StoreRetention, CommitsThatWaitGoBeforeTheNextSlice) {
  constexpr int kCommits = 20;
  WatchingClock clock;
  options_.retention = milliseconds(1);
  auto opened = runner::SqliteStore::open(options_, clock);
  ASSERT_TRUE(opened);
  const auto store = std::move(*opened);
  ASSERT_TRUE(await(store->commit({fullHost("h")})));
  // Behind the slice of the first commit, which finds nothing: no other follows it.
  ASSERT_TRUE(await(store->prune(WallTime{0})));
  ASSERT_TRUE(await(store->commit(oldHistory(10'000, 5 * HistoryPruner::kSlice))));

  clock.now_ns += Duration(std::chrono::hours(2)).count();
  clock.hold();
  ASSERT_TRUE(await(store->commit({fullHost("h")})));
  const std::string one_commit = clock.waitForSlice();
  asio::io_context context;
  int done = 0;
  for (int i = 0; i < kCommits; ++i) {
    asio::co_spawn(context, store->commit({fullHost("h" + std::to_string(i))}),
                   [&](std::exception_ptr, Result<CommitNumber> result) {
                     EXPECT_TRUE(result);
                     ++done;
                   });
  }
  context.poll();  // They are in the queue now.
  ASSERT_EQ(done, 0);
  clock.go();
  context.run();
  EXPECT_EQ(done, kCommits);
  ASSERT_TRUE(await(store->prune(WallTime{0})));
  const std::string all_commits(kCommits * one_commit.size(), 'C');
  EXPECT_THAT(clock.notes(), testing::StartsWith(one_commit + "S" + all_commits + "S"));
}

TEST_F(StoreRetention, WhatIsOpenStaysWithItsRun) {
  open();
  ASSERT_TRUE(await(store_->commit(oldHistory(0, 30))));
  // A VM that has run for long: its request and its run ended when it was up.
  auto running = placedAttempt(500);
  running.requested_at = {3};
  running.state = AttemptState::Running;
  running.running_at = WallTime{4};
  auto its_run = fullRun(500);
  its_run.state = RunState::Succeeded;
  its_run.attempt = running.ref.attempt;
  auto its_request = fullRequest(500);
  its_request.finished_at = WallTime{5};
  // A run that still retries, though this attempt is over.
  auto earlier = endedAttempt(501);
  auto retrying = fullRun(501);
  auto open_request = fullRequest(501);
  ASSERT_TRUE(commit(running, its_run, its_request, fullItem(500, 0, 500), earlier, retrying,
                     open_request, fullItem(501, 0, 501)));
  pruneAll();
  EXPECT_EQ(attempts(), std::vector{running});
  EXPECT_EQ(ask("SELECT count(*) FROM runs"), 2);
  EXPECT_EQ(load().requests, std::vector{open_request});
  // With its end the rest goes too.
  running.state = AttemptState::Ended;
  running.ended_at = WallTime{6};
  ASSERT_TRUE(commit(running));
  pruneAll();
  EXPECT_THAT(attempts(), IsEmpty());
  EXPECT_EQ(ask("SELECT count(*) FROM runs"), 1);
}

TEST_F(StoreRetention, ThePagesOfOldHistoryAreUsedAgain) {
  constexpr std::uint64_t kRound = 1000;
  open();
  ASSERT_TRUE(await(store_->commit(oldHistory(0, kRound))));
  ASSERT_TRUE(await(store_->commit(oldHistory(kRound, kRound))));
  const std::int64_t pages = ask("PRAGMA page_count");
  for (std::uint64_t round = 2; round < 8; ++round) {
    pruneAll();
    EXPECT_GT(ask("PRAGMA freelist_count"), pages / 2);
    ASSERT_TRUE(await(store_->commit(oldHistory(round * kRound, kRound))));
    EXPECT_LE(ask("PRAGMA page_count"), pages);
  }
}

TEST_F(StoreRetention, ACrashBetweenSlicesIsHarmless) {
  std::vector<runner::Change> changes = oldHistory(0, 450);
  auto open_attempt = placedAttempt(900);
  open_attempt.requested_at = {5};
  changes.emplace_back(open_attempt);
  open();
  ASSERT_TRUE(await(store_->commit(changes)));
  close();
  std::size_t last = 451;
  for (int crash = 0; crash < 3; ++crash) {
    const ChildEnd end = inChild([&] {
      open();
      return await(store_->prune(kNow)) ? 7 : 1;  // Nothing is closed.
    });
    ASSERT_TRUE(end.exitedWith(7)) << end.text;
    open();
    EXPECT_EQ(ask("SELECT count(*) FROM pragma_foreign_key_check"), 0);
    EXPECT_EQ(ask("SELECT count(*) FROM request_items i WHERE NOT EXISTS "
                  "(SELECT 1 FROM requests r WHERE r.id = i.request)"),
              0);
    const std::size_t left = attempts().size();
    EXPECT_LT(left, last);
    last = left;
    close();
  }
  open();
  pruneAll();
  EXPECT_EQ(attempts(), std::vector{open_attempt});
  for (const char* table : {"runs", "requests", "request_items"}) {
    EXPECT_EQ(ask(std::string("SELECT count(*) FROM ") + table), 0) << table;
  }
}

TEST_F(StoreRetention, QueriesWithoutPauseDoNotKeepTheLogGrowing) {
  options_.log_pages = 50;
  open();
  commitOldHistory(3000);
  std::atomic<bool> over = false;
  std::vector<std::thread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([this, &over] {
      while (!over) EXPECT_TRUE(await(store_->historyStats({})));
    });
  }
  std::uintmax_t most = 0;
  const auto log = folder_ / "engine.db-wal";
  constexpr std::uint64_t kCommits = 400;
  for (std::uint64_t i = 0; i < kCommits; ++i) {
    ASSERT_TRUE(await(store_->commit(oldHistory(10'000 + 10 * i, 10))));
    most = std::max(most, std::filesystem::file_size(log));
  }
  over = true;
  for (std::thread& client : clients) client.join();
  // Each commit adds some 30 pages: altogether three times as much.
  EXPECT_LT(most, std::uintmax_t{16} << 20U);
}

TEST_F(StoreRetention, ASlowExportHoldsNothingBetweenItsPages) {
  options_.log_pages = 50;
  open();
  commitOldHistory(1000);
  HistoryQuery query;
  query.limit = 100;
  std::uintmax_t most = 0;
  std::set<Uuid> seen;
  for (std::uint64_t page_number = 0;; ++page_number) {
    const auto page = await(store_->history(query));
    ASSERT_TRUE(page);
    for (const AttemptRecord& attempt : page->attempts) {
      EXPECT_TRUE(seen.insert(attempt.ref.attempt.uuid).second);
    }
    if (page->next_cursor.empty()) break;
    query.cursor = page->next_cursor;
    for (std::uint64_t i = 0; i < 30; ++i) {
      ASSERT_TRUE(await(store_->commit(oldHistory(10'000 + 300 * page_number + 10 * i, 10))));
      most = std::max(most, std::filesystem::file_size(folder_ / "engine.db-wal"));
    }
  }
  EXPECT_EQ(seen.size(), 1000U);
  EXPECT_LT(most, std::uintmax_t{4} << 20U);
}

}  // namespace
}  // namespace vms::test
