#include <optional>
#include <string>
#include <vector>

#include "runner/history_selection.h"
#include "runner/sqlite_records.h"
#include "runner/sqlite_tables.h"
#include "tests/integration/store_fixture.h"

namespace vms::test {
namespace {

using runner::HistoryCursor;
using runner::HistoryQuery;
using runner::HistorySelection;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

/// How SQLite runs what the history asks.
class StorePlan : public StoreTest {
 protected:
  void SetUp() override {
    open();
    connection_.emplace(options_.path.string(), SQLite::OPEN_READONLY);
  }
  std::vector<std::string> plan(const std::string& sql) {
    SQLite::Statement statement(*connection_, "EXPLAIN QUERY PLAN " + sql);
    std::vector<std::string> steps;
    while (statement.executeStep()) steps.push_back(statement.getColumn(3).getString());
    return steps;
  }

  std::optional<SQLite::Database> connection_;
};

/// Every filter on and off, each value that changes the choice of an index, with and without a
/// cursor.
std::vector<HistoryQuery> allCombinations() {
  std::vector<HistoryQuery> all;
  for (unsigned bits = 0; bits < 64; ++bits) {
    for (const char* outcome : {"", "succeeded", "failed", "cancelled"}) {
      for (int reason = -1; reason < 3; ++reason) {
        HistoryQuery query;
        if (bits & 1U) query.host = "host-1";
        if (bits & 2U) query.vm = VmId{uuidOf(1, 1)};
        if ((bits & 2U) != 0 && (bits & 4U) != 0) query.vm_name = "vm-1";
        if (bits & 8U) query.request = RequestId{uuidOf(2, 1)};
        if (bits & 16U) query.since = WallTime{1};
        if (bits & 32U) query.until = WallTime{2'000'000'000'000};
        if (*outcome != '\0') query.outcome = outcome;
        if (reason >= 0) query.reason = static_cast<RunReason>(reason);
        all.push_back(query);
      }
    }
  }
  return all;
}

TEST_F(StorePlan, EveryPageAndFigureIsFoundByOneIndexAndNothingIsSorted) {
  const HistoryCursor cursor{WallTime{1000}, AttemptId{uuidOf(4, 1)}, 0};
  for (const HistoryQuery& query : allCombinations()) {
    for (const bool later : {false, true}) {
      const HistorySelection selection(query, later ? std::optional(cursor) : std::nullopt);
      for (const std::string& sql : {selection.pageSql(selectList(runner::kAttemptTable)),
                                     selection.countSql("outcome, placed_at - requested_at")}) {
        SCOPED_TRACE(sql);
        const auto steps = plan(sql);
        ASSERT_THAT(steps, SizeIs(1)) << "a second step sorts";
        EXPECT_THAT(steps[0], HasSubstr("INDEX attempts_by_"));
        // Without any filter that an index begins with, a page reads the newest rows in order and
        // stops; figures about everything read everything.
        const bool rare = (query.outcome && *query.outcome != "succeeded") ||
                          (query.reason && *query.reason != RunReason::User);
        const bool bounded =
            query.host || query.vm || query.request || rare || query.since || query.until || later;
        EXPECT_THAT(steps[0], StartsWith(bounded ? "SEARCH" : "SCAN"));
        if (query.since || query.until || later) {
          EXPECT_THAT(steps[0], HasSubstr("requested_at"));
        }
      }
    }
  }
}

TEST_F(StorePlan, NamesAndOldRowsAreFoundByIndexes) {
  const std::vector<std::string> others = {
      "SELECT vm FROM vm_names WHERE name = ?",
      "SELECT id FROM requests WHERE finished_at < ? ORDER BY finished_at LIMIT 1",
      "SELECT id FROM attempts INDEXED BY attempts_by_time WHERE (requested_at, id) > (?2, ?3) AND "
      "requested_at < ?1 ORDER BY requested_at, id LIMIT ?4"};
  for (const std::string& sql : others) {
    const auto steps = plan(sql);
    ASSERT_THAT(steps, SizeIs(1)) << sql;
    EXPECT_THAT(steps[0], StartsWith("SEARCH"));
    EXPECT_THAT(steps[0], HasSubstr("USING"));
  }
}

TEST_F(StorePlan, WhatIsOpenIsFoundByTheIndexesOfIt) {
  EXPECT_THAT(plan("SELECT * FROM runs WHERE " + std::string(runner::kOpenRun)),
              ElementsAre("SCAN runs USING INDEX runs_open"));
  EXPECT_THAT(plan("SELECT * FROM attempts WHERE " + std::string(runner::kOpenAttempt)),
              ElementsAre("SCAN attempts USING INDEX attempts_open"));
}

TEST_F(StorePlan, WritingARowMakesNoTemporaryTable) {
  for (const auto* table : {&runner::kRunTable, &runner::kAttemptTable}) {
    for (const std::string& sql : {runner::upsertSql(*table), runner::numberedUpsertSql(*table),
                                   runner::updateSql(*table)}) {
      SQLite::Statement program(*connection_, "EXPLAIN " + sql);
      while (program.executeStep()) {
        EXPECT_NE(program.getColumn(1).getString(), "OpenEphemeral") << sql;
      }
    }
  }
}

TEST_F(StorePlan, AnOlderStoreGetsTheIndexesAndKeepsItsRows) {
  auto failed = placedAttempt(1);
  failed.state = AttemptState::Failed;
  failed.error_class = ErrorClass::HostRejected;
  auto ha = placedAttempt(2);
  ha.reason = RunReason::Ha;
  ASSERT_TRUE(commit(failed, ha));
  const auto schema = [this] {
    SQLite::Database reader(options_.path.string(), SQLite::OPEN_READONLY);
    SQLite::Statement statement(reader,
                                "SELECT group_concat(sql) FROM (SELECT sql FROM "
                                "sqlite_schema ORDER BY type, name)");
    return statement.executeStep() ? statement.getColumn(0).getString() : std::string();
  };
  const std::string newest = schema();
  connection_.reset();
  close();
  {
    // What the first migration alone made.
    SQLite::Database older(options_.path.string(), SQLite::OPEN_READWRITE);
    older.exec(
        "DROP TABLE terms; ALTER TABLE hosts DROP COLUMN moved_vms; "
        "ALTER TABLE hosts DROP COLUMN forgotten_by; "
        "DROP INDEX attempts_by_host_outcome; DROP INDEX attempts_by_host_reason; "
        "DROP INDEX runs_open; CREATE INDEX runs_open ON runs (id) "
        "WHERE state NOT IN ('succeeded', 'failed', 'cancelled'); "
        "DROP INDEX attempts_open; CREATE INDEX attempts_open ON attempts (id) "
        "WHERE state NOT IN ('dropped', 'refused', 'failed', 'ended'); "
        "PRAGMA user_version = 1");
  }
  ASSERT_NE(schema(), newest);
  open();
  EXPECT_EQ(schema(), newest);
  HistoryQuery query;
  query.host = "host-1";
  query.outcome = "failed";
  auto page = await(store_->history(query));
  ASSERT_TRUE(page);
  EXPECT_EQ(page->attempts, std::vector{failed});
  query.outcome.reset();
  query.reason = RunReason::Ha;
  page = await(store_->history(query));
  ASSERT_TRUE(page);
  EXPECT_EQ(page->attempts, std::vector{ha});
}

}  // namespace
}  // namespace vms::test
