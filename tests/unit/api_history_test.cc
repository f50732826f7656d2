#include "tests/unit/api_fixture.h"

namespace vms::runner::api {
namespace {

class History : public ApiTest {
 protected:
  void addAttempts(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      AttemptRecord attempt;
      attempt.ref.epoch.value = i + 1;
      attempt.vm_name = "vm" + std::to_string(i);
      attempt.host = "host1";
      attempt.error = "a \"quoted\", text";
      service_.attempts.push_back(std::move(attempt));
    }
  }
};

TEST_F(History, FiltersReachTheStore) {
  const Answer answer =
      send("GET",
           "/v1/history?host=h&vm=web1&since=2026-11-20T08:00:00Z&until=2026-11-21T00:00:00%2B01:00"
           "&outcome=failed&reason=ha&limit=5&request=01000000-0000-0000-0000-000000000000");
  EXPECT_EQ(answer.status, 200) << answer.body;
  ASSERT_TRUE(service_.asked);
  EXPECT_EQ(service_.asked->host, "h");
  EXPECT_EQ(service_.asked->vm_name, "web1");
  EXPECT_FALSE(service_.asked->vm);
  EXPECT_EQ(service_.asked->until->unix_ms - service_.asked->since->unix_ms, 15 * 3600 * 1000);
  EXPECT_EQ(service_.asked->outcome, "failed");
  EXPECT_EQ(service_.asked->reason, RunReason::Ha);
  EXPECT_EQ(service_.asked->limit, 5u);
  EXPECT_TRUE(service_.asked->request);
}

TEST_F(History, ATimeThatEndsBeforeItBeginsIsRefused) {
  const std::string range = "?since=2026-11-21T00:00:00Z&until=2026-11-20T08:00:00Z";
  for (const std::string path : {"/v1/history", "/v1/history/stats"}) {
    const Answer answer = send("GET", path + range);
    EXPECT_EQ(answer.status, 400) << answer.body;
    EXPECT_NE(answer.text("detail").find("2026-11-21T00:00:00.000Z, later than 'until', "
                                         "2026-11-20T08:00:00.000Z"),
              std::string::npos)
        << answer.body;
  }
  EXPECT_FALSE(service_.asked);
  const std::string nothing = "?since=2026-11-20T08:00:00Z&until=2026-11-20T08:00:00Z";
  EXPECT_EQ(send("GET", "/v1/history" + nothing).status, 200) << "empty, as it says";
}

TEST_F(History, AnIdIsTakenAsOne) {
  send("GET", "/v1/history/stats?vm=01000000-0000-0000-0000-000000000000");
  EXPECT_TRUE(service_.asked->vm);
  EXPECT_FALSE(service_.asked->vm_name);
}

TEST_F(History, AnAttemptHasExactlyTheContractsKeys) {
  addAttempts(1);
  const Answer answer = send("GET", "/v1/history");
  const json::object body = answer.object();
  const auto& attempt = body.at("attempts").as_array()[0].as_object();
  const std::vector<std::string> keys = {
      "attempt_id", "run_id",      "request_id",   "vm_id",
      "vm_name",    "host",        "epoch",        "batch_id",
      "reason",     "priority",    "requested_at", "placed_at",
      "sent_at",    "accepted_at", "staged_at",    "build_started_at",
      "built_at",   "running_at",  "ready_at",     "ended_at",
      "state",      "outcome",     "error_class",  "error",
      "proof",      "stopped_at",  "stop_reason"};
  std::vector<std::string> found;
  for (const auto& [key, value] : attempt) found.emplace_back(key);
  EXPECT_EQ(found, keys);
  EXPECT_TRUE(attempt.at("sent_at").is_null());
  EXPECT_EQ(attempt.at("requested_at").as_string(), "1970-01-01T00:00:00.000Z");
}

TEST_F(History, JsonPages) {
  addAttempts(3);
  const Answer first = send("GET", "/v1/history?limit=2");
  EXPECT_EQ(first.object().at("attempts").as_array().size(), 2u);
  const Answer second = send("GET", "/v1/history?limit=2&cursor=" + first.text("next_cursor"));
  EXPECT_EQ(second.object().at("attempts").as_array().size(), 1u);
  EXPECT_TRUE(second.object().at("next_cursor").is_null());
}

TEST_F(History, ExportsGoOverAllPages) {
  addAttempts(2500);
  const Answer lines = send("GET", "/v1/history", "", {{"accept", "application/x-ndjson"}});
  EXPECT_EQ(std::count(lines.body.begin(), lines.body.end(), '\n'), 2500);
  const Answer csv = send("GET", "/v1/history?format=csv&limit=1001");
  EXPECT_EQ(csv.headers.at("Content-Type"), "text/csv; charset=utf-8");
  EXPECT_EQ(std::count(csv.body.begin(), csv.body.end(), '\n'), 1002);
  EXPECT_EQ(csv.body.find("attempt_id,run_id,"), 0u);
  EXPECT_NE(csv.body.find("\"a \"\"quoted\"\", text\""), std::string::npos);
}

TEST_F(History, AnExportThatFailsIsNotComplete) {
  addAttempts(1500);
  service_.fail_history_after = 1;
  const Answer cut = send("GET", "/v1/history?format=ndjson");
  EXPECT_EQ(cut.status, 200);
  EXPECT_FALSE(cut.complete);
}

TEST_F(History, AnExportEndsWithItsClient) {
  constexpr int kMany = 100;
  addAttempts(kMany * 1000);
  service_.fail_history_after = kMany;
  stream_writes_ = 2;
  EXPECT_FALSE(send("GET", "/v1/history?format=csv").complete);
  EXPECT_EQ(*service_.fail_history_after, kMany - 3) << "the page that found nobody is the last";
}

TEST_F(History, StatsHaveTheShareOfSuccess) {
  const json::object stats = send("GET", "/v1/history/stats").object();
  EXPECT_DOUBLE_EQ(stats.at("success_rate").as_double(), 0.75);
  EXPECT_EQ(stats.at("phases").as_array()[0].as_object().at("phase").as_string(), "total");
}

}  // namespace
}  // namespace vms::runner::api
