#include <rapidcheck.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "runner/history_cursor.h"
#include "tests/integration/store_fixture.h"

namespace vms::test {
namespace {

using runner::AttemptRecord;
using runner::HistoryQuery;
using testing::HasSubstr;

constexpr std::uint64_t kHosts = 3, kVms = 4, kRequests = 5;

/// An attempt whose filters' columns come from few values, so that every combination is met.
AttemptRecord smallAttempt(std::uint64_t number, std::uint64_t dice) {
  AttemptRecord attempt = placedAttempt(number);
  attempt.host = "host-" + std::to_string(dice % kHosts);
  attempt.ref.vm = {uuidOf(1, dice / 3 % kVms)};
  // Two VMs share a name, as a VM and its successor may.
  attempt.vm_name = "vm-" + std::to_string(dice / 3 % kVms % 3);
  attempt.request = {uuidOf(2, dice / 12 % kRequests)};
  attempt.requested_at = {1000 + static_cast<std::int64_t>(dice / 60 % 8)};
  attempt.reason = static_cast<RunReason>(dice / 480 % 3);
  switch (dice / 1440 % 4) {
    case 0:
      attempt.state = AttemptState::Running;
      attempt.running_at = WallTime{2000};
      break;
    case 1:
      attempt.state = AttemptState::Failed;
      attempt.error_class = ErrorClass::HostRejected;
      break;
    case 2:
      attempt.state = AttemptState::Dropped;
      break;
    default:
      attempt.state = AttemptState::Sent;
      break;
  }
  return attempt;
}

std::vector<AttemptRecord> bruteForce(std::vector<AttemptRecord> all, const HistoryQuery& query) {
  std::erase_if(all, [&](const AttemptRecord& a) {
    return (query.host && a.host != *query.host) || (query.vm && a.ref.vm != *query.vm) ||
           (query.vm_name && a.vm_name != *query.vm_name) ||
           (query.request && a.request != *query.request) ||
           (query.since && a.requested_at < *query.since) ||
           (query.until && a.requested_at >= *query.until) ||
           (query.outcome && outcomeOf(a) != *query.outcome) ||
           (query.reason && a.reason != *query.reason);
  });
  std::sort(all.begin(), all.end(), [](const AttemptRecord& a, const AttemptRecord& b) {
    return std::tie(a.requested_at, a.ref.attempt) > std::tie(b.requested_at, b.ref.attempt);
  });
  return all;
}

template <class T>
std::optional<T> sometimes(const rc::Gen<T>& gen) {
  return *rc::gen::weightedElement<bool>({{1, true}, {2, false}}) ? std::optional<T>(*gen)
                                                                  : std::nullopt;
}

std::uint64_t below(std::uint64_t bound) { return *rc::gen::inRange<std::uint64_t>(0, bound); }

HistoryQuery anyQuery() {
  HistoryQuery query;
  const auto number = rc::gen::inRange<std::uint64_t>(0, 5);
  if (const auto n = sometimes(number)) query.host = "host-" + std::to_string(*n);
  if (const auto n = sometimes(number)) query.vm = VmId{uuidOf(1, *n)};
  if (const auto n = sometimes(number)) query.vm_name = "vm-" + std::to_string(*n);
  if (const auto n = sometimes(number)) query.request = RequestId{uuidOf(2, *n)};
  const auto time = rc::gen::inRange<std::int64_t>(998, 1010);
  if (const auto t = sometimes(time)) query.since = WallTime{*t};
  if (const auto t = sometimes(time)) query.until = WallTime{*t};
  query.outcome = sometimes(rc::gen::element<std::string>("succeeded", "failed", "cancelled"));
  query.reason = sometimes(rc::gen::element(RunReason::User, RunReason::Ha, RunReason::Rerun));
  return query;
}

class StoreHistory : public StoreTest {
 protected:
  void SetUp() override { open(); }

  /// All pages of a query.
  std::vector<AttemptRecord> walk(HistoryQuery query) {
    std::vector<AttemptRecord> all;
    for (int page_number = 0; page_number < 10'000; ++page_number) {
      const auto page = await(store_->history(query));
      if (!page) {
        ADD_FAILURE() << page.error().message;
        return all;
      }
      EXPECT_LE(page->attempts.size(), query.limit);
      all.insert(all.end(), page->attempts.begin(), page->attempts.end());
      if (page->next_cursor.empty()) return all;
      EXPECT_EQ(page->attempts.size(), query.limit);
      query.cursor = page->next_cursor;
    }
    ADD_FAILURE() << "the pages do not end";
    return all;
  }
  void expectInvalid(const HistoryQuery& query, const std::string& says) {
    const auto page = await(store_->history(query));
    ASSERT_FALSE(page);
    EXPECT_EQ(page.error().error_class, ErrorClass::Invalid);
    EXPECT_THAT(page.error().message, HasSubstr(says));
  }
};

TEST_F(StoreHistory, PagesOfAnyQueryAreWhatBruteForceFinds) {
  // Names of VMs are resolved through their definitions.
  std::vector<runner::Change> changes;
  for (std::uint64_t i = 0; i < kVms; ++i) {
    auto vm = fullVm(i);
    vm.spec.name = "vm-" + std::to_string(i % 3);
    changes.emplace_back(vm);
  }
  Rng rng(20261120);
  std::vector<AttemptRecord> all;
  for (std::uint64_t i = 0; i < 400; ++i) {
    all.push_back(smallAttempt(i, rng.below(5760)));
    changes.emplace_back(all.back());
  }
  ASSERT_TRUE(await(store_->commit(changes)));
  const bool held = rc::check("history equals brute force", [&] {
    HistoryQuery query = anyQuery();
    query.limit = 1 + below(120);
    const auto expected = bruteForce(all, query);
    const auto found = walk(query);
    RC_ASSERT(found.size() == expected.size());
    RC_ASSERT(found == expected);
    const auto stats = await(store_->historyStats(query));
    RC_ASSERT(stats.has_value());
    RC_ASSERT(stats->count == expected.size());
    std::uint64_t succeeded = 0, failed = 0, cancelled = 0;
    for (const AttemptRecord& attempt : expected) {
      succeeded += outcomeOf(attempt) == "succeeded" ? 1U : 0U;
      failed += outcomeOf(attempt) == "failed" ? 1U : 0U;
      cancelled += outcomeOf(attempt) == "cancelled" ? 1U : 0U;
    }
    RC_ASSERT(stats->succeeded == succeeded);
    RC_ASSERT(stats->failed == failed);
    RC_ASSERT(stats->cancelled == cancelled);
  });
  EXPECT_TRUE(held);
}

TEST_F(StoreHistory, PagesHaveNoGapsWhenNewAttemptsArriveMeanwhile) {
  for (std::uint64_t i = 0; i < 10; ++i) {
    auto attempt = placedAttempt(i);
    attempt.requested_at = {static_cast<std::int64_t>(i)};
    ASSERT_TRUE(commit(attempt));
  }
  HistoryQuery query;
  query.limit = 5;
  const auto first = await(store_->history(query));
  ASSERT_TRUE(first);
  auto late = placedAttempt(99);
  late.requested_at = {100};
  ASSERT_TRUE(commit(late));
  query.cursor = first->next_cursor;
  const auto second = await(store_->history(query));
  ASSERT_TRUE(second);
  ASSERT_EQ(second->attempts.size(), 5U);
  EXPECT_EQ(second->attempts.front().requested_at, WallTime{4});
  EXPECT_EQ(second->attempts.back().requested_at, WallTime{0});
  EXPECT_TRUE(second->next_cursor.empty());
}

/// What was there all the time is on exactly one page, in order, whatever comes, changes and goes.
TEST_F(StoreHistory, PagesAmidChangesHaveNoGapsAndNoDoubles) {
  std::vector<runner::Change> changes;
  for (std::uint64_t i = 0; i < kVms; ++i) {
    auto vm = fullVm(i);
    vm.spec.name = "vm-" + std::to_string(i % 3);
    changes.emplace_back(vm);
  }
  ASSERT_TRUE(await(store_->commit(changes)));
  std::uint64_t number = 0;
  std::int64_t base_ms = 0;  // Each round has a second of its own.
  const bool held = rc::check("pages amid changes", [&] {
    base_ms += 1000;
    const auto any = [&] {
      AttemptRecord attempt = smallAttempt(number++, below(5760));
      attempt.requested_at.unix_ms += base_ms;
      return attempt;
    };
    std::vector<AttemptRecord> there;
    std::vector<runner::Change> added;
    const std::uint64_t first = number;
    for (int i = 0; i < 60; ++i) {
      there.push_back(any());
      added.emplace_back(there.back());
    }
    RC_ASSERT(await(store_->commit(added)).has_value());

    HistoryQuery query = anyQuery();
    query.since = query.since.value_or(WallTime{998}) + milliseconds(base_ms);
    if (query.until) query.until = *query.until + milliseconds(base_ms);
    query.limit = 1 + below(15);
    std::vector<AttemptRecord> found;
    std::vector<AttemptId> changed;
    for (;;) {
      const auto page = await(store_->history(query));
      RC_ASSERT(page.has_value());
      found.insert(found.end(), page->attempts.begin(), page->attempts.end());
      if (page->next_cursor.empty()) break;
      query.cursor = page->next_cursor;
      // A new one, perhaps in the middle, and an open one that ends.
      std::vector<runner::Change> more{any()};
      AttemptRecord& one = there[below(there.size())];
      if (!isFinal(one.state)) {
        one.state = AttemptState::Failed;
        one.running_at.reset();
        one.error_class = ErrorClass::HostRejected;
        changed.push_back(one.ref.attempt);
        more.emplace_back(one);
      }
      RC_ASSERT(await(store_->commit(more)).has_value());
    }
    const auto isNewer = [](const AttemptRecord& a, const AttemptRecord& b) {
      return std::tie(a.requested_at, a.ref.attempt) > std::tie(b.requested_at, b.ref.attempt);
    };
    for (std::size_t i = 1; i < found.size(); ++i) RC_ASSERT(isNewer(found[i - 1], found[i]));
    // Those of this round that did not change: exactly those that match.
    const auto settled = [&](const AttemptRecord& a) {
      return a.ref.attempt >= AttemptId{uuidOf(4, first)} &&
             a.ref.attempt < AttemptId{uuidOf(4, first + 60)} &&
             std::find(changed.begin(), changed.end(), a.ref.attempt) == changed.end();
    };
    auto expected = bruteForce(there, query);
    std::erase_if(expected, [&](const AttemptRecord& a) { return !settled(a); });
    std::erase_if(found, [&](const AttemptRecord& a) { return !settled(a); });
    RC_ASSERT(found == expected);
  });
  EXPECT_TRUE(held);
}

TEST_F(StoreHistory, ACursorBelongsToItsFilters) {
  for (std::uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(commit(placedAttempt(i)));
  HistoryQuery query;
  query.host = "host-1";
  query.limit = 1;
  const auto page = await(store_->history(query));
  ASSERT_TRUE(page);
  query.cursor = page->next_cursor;
  query.limit = 2;  // No filter.
  EXPECT_TRUE(await(store_->history(query)));
  query.host = "host-2";
  expectInvalid(query, "other filters");
  query.host.reset();
  query.vm_name = "host-1";
  expectInvalid(query, "other filters");
}

TEST_F(StoreHistory, ARenamedVmIsFoundUnderTheNameItHadThen) {
  auto vm = fullVm(1);
  vm.spec.name = "old";
  auto attempt = placedAttempt(1);
  attempt.vm_name = "old";
  ASSERT_TRUE(commit(vm, attempt));
  vm.spec.name = "new";
  auto later = placedAttempt(2);
  later.ref.vm = vm.spec.id;
  later.vm_name = "new";
  ASSERT_TRUE(commit(vm, later));
  HistoryQuery query;
  query.vm_name = "old";
  EXPECT_EQ(walk(query), std::vector{attempt});
  query.vm_name = "new";
  EXPECT_EQ(walk(query), std::vector{later});
  query.vm_name = "never";
  EXPECT_TRUE(walk(query).empty());
}

TEST_F(StoreHistory, WhatIsNoCursorIsInvalid) {
  const std::string good =
      runner::encodeCursor({WallTime{1'700'000'000'000}, AttemptId{uuidOf(4, 7)}, 0xfedcba98U});
  std::vector<std::string> bad = {"x", "' OR 1=1 --", good + "0", good.substr(1),
                                  "a" + good.substr(1)};
  for (std::size_t i = 1; i < good.size(); ++i) {
    std::string changed = good;
    changed[i] = changed[i] == '0' ? '1' : '0';
    bad.push_back(changed);
  }
  for (const std::string& cursor : bad) {
    HistoryQuery query;
    query.cursor = cursor;
    expectInvalid(query, "cursor");
  }
  EXPECT_EQ(runner::decodeCursor(good)->requested_at, WallTime{1'700'000'000'000});
  const runner::HistoryCursor before_epoch{WallTime{-5}, AttemptId{uuidOf(4, 1)}, 1};
  EXPECT_EQ(runner::decodeCursor(runner::encodeCursor(before_epoch)), before_epoch);
}

TEST_F(StoreHistory, LimitsAndOutcomesAreChecked) {
  HistoryQuery query;
  query.limit = 0;
  expectInvalid(query, "1 to 1000");
  query.limit = 1001;
  expectInvalid(query, "1 to 1000");
  query.limit = 1000;
  EXPECT_TRUE(await(store_->history(query)));
  query.outcome = "failed' OR '1'='1";
  expectInvalid(query, "succeeded, failed or cancelled");
  EXPECT_FALSE(await(store_->historyStats(query)));
}

TEST_F(StoreHistory, PercentilesAreExactForEachPhase) {
  std::vector<runner::Change> changes;
  for (std::int64_t i = 1; i <= 100; ++i) {
    auto attempt = placedAttempt(static_cast<std::uint64_t>(i));
    attempt.state = AttemptState::Running;
    const std::int64_t at = 1000;
    attempt.requested_at = {at};
    attempt.placed_at = {at + i};
    attempt.sent_at = WallTime{at + 3 * i};
    attempt.accepted_at = WallTime{at + 6 * i};
    attempt.staged_at = WallTime{at + 10 * i};
    attempt.build_started_at = WallTime{at + 15 * i};
    if (i > 50) {
      attempt.built_at = WallTime{at + 21 * i};
      attempt.running_at = WallTime{at + 28 * i};
    }
    changes.emplace_back(attempt);
  }
  auto jumped = placedAttempt(200);
  jumped.requested_at = {900};
  jumped.placed_at = {800};
  changes.emplace_back(jumped);
  ASSERT_TRUE(await(store_->commit(changes)));

  HistoryQuery query;
  query.since = WallTime{1000};
  const auto stats = await(store_->historyStats(query));
  ASSERT_TRUE(stats);
  EXPECT_EQ(stats->count, 100U);
  EXPECT_EQ(stats->succeeded, 50U);
  const std::vector<std::tuple<std::string, std::uint64_t, double, double, double>> expected = {
      {"queue", 100, 50, 95, 99},
      {"send", 100, 100, 190, 198},
      {"accept", 100, 150, 285, 297},
      {"stage", 100, 200, 380, 396},
      {"build", 50, 6 * 75, 6 * 98, 6 * 100},
      {"launch", 50, 7 * 75, 7 * 98, 7 * 100},
      {"total", 50, 28 * 75, 28 * 98, 28 * 100}};
  ASSERT_EQ(stats->phases.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const runner::PhaseStats& phase = stats->phases[i];
    EXPECT_EQ(std::tuple(phase.phase, phase.count, phase.p50_ms, phase.p95_ms, phase.p99_ms),
              expected[i])
        << phase.phase;
  }
  query = HistoryQuery();
  query.until = WallTime{1000};
  const auto negative = await(store_->historyStats(query));
  ASSERT_TRUE(negative);
  EXPECT_EQ(negative->phases.at(0).p50_ms, 0);
  EXPECT_EQ(negative->phases.at(1).count, 0U);
}

TEST_F(StoreHistory, OldHistoryGoesInSlicesAndOpenOnesStay) {
  std::vector<runner::Change> changes;
  constexpr std::uint64_t kOld = 1200;
  for (std::uint64_t i = 0; i < kOld; ++i) {
    auto attempt = placedAttempt(i);
    attempt.state = AttemptState::Refused;
    auto run = fullRun(i);
    run.state = RunState::Failed;
    changes.emplace_back(attempt);
    changes.emplace_back(run);
  }
  auto open_attempt = placedAttempt(5000);
  auto ended_lately = placedAttempt(5001);
  ended_lately.state = AttemptState::Ended;
  ended_lately.ended_at = WallTime{1'000'000};
  auto open_run = fullRun(5000);
  changes.emplace_back(open_attempt);
  changes.emplace_back(ended_lately);
  changes.emplace_back(open_run);
  auto old_request = fullRequest(1);
  old_request.finished_at = WallTime{10};
  auto unfinished = fullRequest(2);
  changes.emplace_back(old_request);
  changes.emplace_back(unfinished);
  for (std::uint32_t i = 0; i < 700; ++i) changes.emplace_back(fullItem(1, i, i));
  changes.emplace_back(fullItem(2, 0, 5000));
  ASSERT_TRUE(await(store_->commit(changes)));

  int slices = 0;
  for (;;) {
    const auto removed = await(store_->prune(WallTime{1'800'000'000'000 - 1}));
    ASSERT_TRUE(removed);
    EXPECT_LE(*removed, 400U) << "a slice is bounded";
    if (*removed == 0) break;
    ++slices;
  }
  EXPECT_GE(slices, 2);
  HistoryQuery query;
  query.limit = 1000;
  EXPECT_EQ(walk(query), std::vector{open_attempt});
  reopen();
  const auto snapshot = load();
  EXPECT_EQ(snapshot.requests, std::vector{unfinished});
  EXPECT_EQ(snapshot.items, std::vector{fullItem(2, 0, 5000)});
  EXPECT_EQ(snapshot.runs, std::vector{open_run});
}

TEST_F(StoreHistory, RetentionIsAppliedWithoutBeingAsked) {
  options_.retention = std::chrono::hours(24 * 400);
  reopen();
  auto old = placedAttempt(1);
  old.state = AttemptState::Refused;
  old.requested_at = clock_.wallNow() - std::chrono::hours(24 * 401);
  auto young = placedAttempt(2);
  young.state = AttemptState::Refused;
  young.requested_at = clock_.wallNow() - std::chrono::hours(24 * 399);
  ASSERT_TRUE(commit(old, young));
  clock_.now_ns += Duration(std::chrono::hours(2)).count();
  ASSERT_TRUE(commit(fullHost("h")));
  // Runs behind the slice, on the same thread.
  ASSERT_TRUE(await(store_->prune(WallTime{0})));
  EXPECT_EQ(walk({}), std::vector{young});
}

}  // namespace
}  // namespace vms::test
