#include "runner/sqlite_attempt_rows.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "schema/base/sqlite_rows.h"
#include "tests/integration/store_fixture.h"

namespace vms::test {
namespace {

using runner::AttemptRows;

class StoreAttemptRows : public StoreTest {
 protected:
  void SetUp() override { open(); }

  void addAttempt(const std::string& host) {
    auto attempt = placedAttempt(++attempts_);
    attempt.host = host;
    ASSERT_TRUE(commit(attempt));
  }
  /// "host attempt" in the order of the file.
  std::vector<std::string> rows() {
    std::map<Uuid, std::uint64_t> numbers;
    for (std::uint64_t i = 1; i <= attempts_; ++i) {
      numbers[placedAttempt(i).ref.attempt.uuid] = i;
    }
    SQLite::Database reader(options_.path.string(), SQLite::OPEN_READONLY);
    SQLite::Statement select(reader, "SELECT host, id FROM attempts NOT INDEXED ORDER BY rowid");
    std::vector<std::string> rows;
    while (select.executeStep()) {
      Uuid id;
      std::string host;
      RowReader(select) >> host >> id;
      rows.push_back(host + " " + std::to_string(numbers[id]));
    }
    return rows;
  }

  std::uint64_t attempts_ = 0;
};

/// Two hosts whose attempts get numbers of one range.
std::pair<std::string, std::string> twoOfOneRange() {
  std::map<std::uint16_t, std::string> hosts;
  for (int i = 0;; ++i) {
    const std::string host = "host-" + std::to_string(i);
    const auto [other, is_new] = hosts.try_emplace(AttemptRows::rangeOf(host), host);
    if (!is_new) return {other->second, host};
  }
}

TEST_F(StoreAttemptRows, ThoseOfAHostLieTogetherAlsoAfterARestart) {
  const bool a_is_first = AttemptRows::rangeOf("a") < AttemptRows::rangeOf("b");
  for (const char* const host : {"a", "b", "a"}) addAttempt(host);
  reopen();
  for (const char* const host : {"b", "a", "b"}) addAttempt(host);
  const std::vector<std::string> a{"a 1", "a 3", "a 5"}, b{"b 2", "b 4", "b 6"};
  std::vector<std::string> expected = a_is_first ? a : b;
  expected.insert(expected.end(), (a_is_first ? b : a).begin(), (a_is_first ? b : a).end());
  EXPECT_EQ(rows(), expected);
}

TEST_F(StoreAttemptRows, HostsThatShareARangeTakeTurns) {
  const auto [one, other] = twoOfOneRange();
  addAttempt(one);
  addAttempt(other);
  reopen();
  addAttempt(other);
  addAttempt(one);
  EXPECT_EQ(rows(), (std::vector{one + " 1", other + " 2", other + " 3", one + " 4"}));
}

TEST_F(StoreAttemptRows, RowsOfAnOldReleaseStayWhereTheyAre) {
  addAttempt("a");
  close();
  {
    SQLite::Database old(options_.path.string(), SQLite::OPEN_READWRITE);
    old.exec("UPDATE attempts SET rowid = 1");
  }
  open();
  addAttempt("a");
  EXPECT_EQ(rows(), (std::vector<std::string>{"a 1", "a 2"}));
  runner::HistoryQuery query;
  query.host = "a";
  const auto page = await(store_->history(query));
  ASSERT_TRUE(page);
  EXPECT_EQ(page->attempts.size(), 2U);
}

TEST(AttemptRange, IsNeverThatOfOldReleases) {
  for (int i = 0; i < 200'000; ++i) ASSERT_NE(AttemptRows::rangeOf(std::to_string(i)), 0);
}

}  // namespace
}  // namespace vms::test
