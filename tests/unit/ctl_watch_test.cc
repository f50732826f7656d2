#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "runner/ctl/text_width.h"
#include "runner/ctl/watch_model.h"
#include "runner/ctl/watch_view.h"

namespace vms::runner::ctl {
namespace {

using ::testing::HasSubstr;

json::object rowOf(const char* text) { return json::parse(text).as_object(); }

json::object someView(std::size_t hosts) {
  json::array host_rows;
  for (std::size_t i = 0; i < hosts; ++i) {
    json::object row = rowOf(R"({"state": "draining", "running": 3, "staged": 1})");
    row["host"] = "h" + std::to_string(i);
    if (i == 0) row["state"] = "ready";
    host_rows.emplace_back(std::move(row));
  }
  json::array requests;
  requests.emplace_back(rowOf(R"({"request_id": "r1", "state": "active", "queued": 5})"));
  requests.emplace_back(rowOf(R"({"request_id": "r2", "state": "succeeded", "queued": 0})"));
  json::array failures;
  failures.emplace_back(rowOf(R"({"vm_name": "web1", "ended_at": "T", "error": "no disk"})"));
  return watchView(WallTime(), host_rows, requests, failures);
}

TEST(Watch, SumsHostsAndActiveRequests) {
  const json::object view = someView(2);
  EXPECT_EQ(numberOf(view, "hosts_ready"), 1);
  EXPECT_EQ(numberOf(view, "running"), 6);
  EXPECT_EQ(numberOf(view, "queued"), 5);
  EXPECT_EQ(view.at("active_requests").as_array().size(), 1u);
  EXPECT_THAT(watchLine(view), HasSubstr("hosts 1/2 ready  running 6  building 2  queued 5"));
  EXPECT_THAT(watchLine(view), HasSubstr("last failure web1 at T"));
}

TEST(Watch, FitsTheScreenAndClearsWhatStoodThere) {
  const json::object view = someView(30);
  for (const std::size_t height : {2u, 10u, 24u}) {
    Screen screen;
    screen.width = 50;
    screen.height = height;
    std::string text = watchScreen(view, screen, "");
    std::size_t lines = 0;
    while (!text.empty()) {
      const std::size_t end = text.find("\x1b[K\n");
      ASSERT_NE(end, std::string::npos);
      EXPECT_LE(widthOf(text.substr(0, end)), 50u);
      text.erase(0, end + 4);
      ++lines;
    }
    EXPECT_EQ(lines, height - 1);
  }
}

TEST(Watch, ShowsTheNote) {
  EXPECT_THAT(watchScreen(someView(1), Screen(), "the engine is away"),
              HasSubstr("\x1b[K\nthe engine is away\x1b[K\n"));
}

TEST(Watch, ShowsFailuresWhenThereIsRoom) {
  Screen screen;
  screen.width = 100;
  EXPECT_THAT(watchScreen(someView(1), screen, "the engine is away"), HasSubstr("no disk"));
}

SseEvent eventOf(const char* kind, const char* id, const char* data) {
  SseEvent event;
  event.event = kind;
  event.id = id;
  event.data = data;
  return event;
}

/// A snapshot in two parts: h1 runs one VM and builds one, r1 and r2 are active.
WatchModel someModel() {
  WatchModel model;
  model.begin();
  EXPECT_TRUE(model.apply(eventOf("snapshot", "", R"({"hosts": [{"host": "h1", "state": "ready"}],
      "requests": [{"request_id": "r1", "state": "active"},
                   {"request_id": "r2", "state": "active"}], "more": true})")));
  EXPECT_FALSE(model.whole());
  EXPECT_TRUE(model.apply(eventOf("snapshot", "7-1", R"({"more": false, "vms": [
      {"vm_id": "a", "state": "running", "host": "h1"},
      {"vm_id": "b", "state": "building", "host": "h1"},
      {"vm_id": "c", "state": "stopped", "host": null}]})")));
  EXPECT_TRUE(model.whole());
  return model;
}

json::object hostOf(const WatchModel& model) {
  json::array rows;
  rows.emplace_back(rowOf(R"({"host": "h1", "state": "draining", "memory_free": 5})"));
  return model.hosts(std::move(rows)).at(0).as_object();
}

TEST(WatchModel, KeepsTheNewestOfEachRow) {
  WatchModel model = someModel();
  EXPECT_EQ(stringOf(hostOf(model), "state"), "ready");
  EXPECT_EQ(numberOf(hostOf(model), "running"), 1);
  EXPECT_EQ(numberOf(hostOf(model), "staged"), 1);
  EXPECT_EQ(numberOf(hostOf(model), "memory_free"), 5);
  EXPECT_EQ(stringOf(model.requests().at(0).as_object(), "request_id"), "r2");

  EXPECT_TRUE(model.apply(eventOf("delta", "7-2", R"({"more": false,
      "hosts": [{"host": "h1", "state": "disconnected"}],
      "requests": [{"request_id": "r2", "state": "failed"}],
      "vms": [{"vm_id": "a", "state": "undefined", "host": null},
              {"vm_id": "b", "state": "ready", "host": "h1"},
              {"vm_id": "b", "state": "ready", "host": "h1"}]})")));
  EXPECT_EQ(stringOf(hostOf(model), "state"), "disconnected");
  EXPECT_EQ(numberOf(hostOf(model), "running"), 1);
  EXPECT_EQ(numberOf(hostOf(model), "staged"), 0);
  EXPECT_EQ(model.requests().size(), 1u);
  EXPECT_EQ(model.lastId(), "7-2");
}

TEST(WatchModel, GoesOnAfterAConnectionAndForgetsWithAReset) {
  WatchModel model = someModel();
  model.begin();
  EXPECT_EQ(model.lastId(), "7-1");
  EXPECT_EQ(model.requests().size(), 2u);
  EXPECT_TRUE(model.apply(eventOf("reset", "", "{}")));
  EXPECT_FALSE(model.whole());
  EXPECT_TRUE(model.requests().empty());

  // Cut in the middle of a snapshot: the next one begins anew.
  model.apply(eventOf("snapshot", "", R"({"requests": [{"request_id": "r", "state": "active"}]})"));
  model.begin();
  EXPECT_TRUE(model.requests().empty());
}

TEST(WatchModel, PassesOverWhatItDoesNotKnow) {
  WatchModel model = someModel();
  EXPECT_FALSE(model.apply(eventOf("closed", "", "{}")));
  EXPECT_FALSE(model.apply(eventOf("delta", "7-9", "no JSON")));
  EXPECT_EQ(model.lastId(), "7-1");
}

}  // namespace
}  // namespace vms::runner::ctl
