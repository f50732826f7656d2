#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "runner/ctl/text_width.h"
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
    std::string text = watchScreen(view, screen);
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

TEST(Watch, ShowsFailuresWhenThereIsRoom) {
  Screen screen;
  screen.width = 100;
  EXPECT_THAT(watchScreen(someView(1), screen), HasSubstr("no disk"));
}

}  // namespace
}  // namespace vms::runner::ctl
