#include <gtest/gtest.h>

#include "runner/ctl/output.h"
#include "runner/ctl/progress.h"
#include "runner/ctl/sse.h"

namespace vms::runner::ctl {
namespace {

json::array rows() {
  json::array list;
  json::object row;
  row["name"] = "web1";
  row["why"] = std::string(100, 'x');
  row["host"] = nullptr;
  list.emplace_back(row);
  row["name"] = "ä\x1b[31m";
  row["why"] = "short";
  row["host"] = "h, \"1\"";
  list.emplace_back(row);
  return list;
}

const std::vector<Column> kColumns = {{"name", "NAME"}, {"why", "WHY"}, {"host", "HOST"}};

std::vector<std::string> linesOf(const std::string& text) {
  std::vector<std::string> lines(1);
  for (const char c : text) {
    if (c == '\n') {
      lines.emplace_back();
    } else {
      lines.back().push_back(c);
    }
  }
  lines.pop_back();
  return lines;
}

TEST(Table, FitsTheTerminalByCuttingTheWidestColumn) {
  Screen screen;
  screen.is_terminal = true;
  screen.width = 40;
  for (const std::string& line : linesOf(tableOf(rows(), kColumns, screen))) {
    EXPECT_LE(line.size(), 41u) << line;
  }
  EXPECT_NE(tableOf(rows(), kColumns, screen).find("x~"), std::string::npos);
}

TEST(Table, IsWholeWithoutATerminal) {
  const std::string text = tableOf(rows(), kColumns, Screen());
  EXPECT_NE(text.find(std::string(100, 'x')), std::string::npos);
  EXPECT_EQ(linesOf(text)[0].find("NAME"), 0u);
}

TEST(Table, TextFromElsewhereCannotDriveTheTerminal) {
  EXPECT_EQ(tableOf(rows(), kColumns, Screen()).find('\x1b'), std::string::npos);
}

TEST(Csv, QuotesAndKeepsNullsEmpty) {
  const std::string text = csvOf(rows(), {});
  EXPECT_EQ(text.find("name,why,host\r\nweb1,"), 0u);
  EXPECT_NE(text.find("\"h, \"\"1\"\"\""), std::string::npos);
  EXPECT_EQ(csvOf(json::array(), kColumns), "name,why,host\r\n");
}

TEST(Sse, EventsComeWholeOverAnyCut) {
  const std::string stream =
      ": comment\r\n\r\nid: 1-2\nevent: snapshot\ndata: {\"a\":\ndata: 1}\n\nevent: "
      "x\n\ndata:y\n\n";
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    SseParser parser;
    auto events = parser.feed(std::string_view(stream).substr(0, cut));
    for (auto& event : parser.feed(std::string_view(stream).substr(cut))) {
      events.push_back(std::move(event));
    }
    ASSERT_EQ(events.size(), 2u) << cut;
    EXPECT_EQ(events[0].event, "snapshot");
    EXPECT_EQ(events[0].id, "1-2");
    EXPECT_EQ(events[0].data, "{\"a\":\n1}");
    EXPECT_EQ(events[1].data, "y");
    EXPECT_EQ(events[1].event, "");
  }
}

json::object viewOf(int running, int failed, const char* state) {
  json::object view;
  view["request_id"] = "r";
  view["state"] = state;
  view["total"] = 10;
  view["queued"] = 10 - running - failed;
  view["running"] = running;
  view["failed"] = failed;
  view["batches"] = 2;
  view["eta_ms"] = nullptr;
  return view;
}

TEST(Progress, EstimatesFromTheRateWhenTheEngineDoesNot) {
  Progress progress{TimePoint()};
  progress.merge(viewOf(0, 0, "active"), TimePoint());
  progress.merge(viewOf(4, 0, "active"), TimePoint() + seconds(2));
  const std::string line = progress.line(TimePoint() + seconds(2));
  EXPECT_NE(line.find("4/10 up"), std::string::npos) << line;
  EXPECT_NE(line.find("2.0 VMs/s"), std::string::npos) << line;
  EXPECT_NE(line.find("ETA 3.0 s"), std::string::npos) << line;
  EXPECT_FALSE(progress.finished());
}

TEST(Progress, MergesDeltas) {
  Progress progress{TimePoint()};
  progress.merge(viewOf(4, 0, "active"), TimePoint());
  json::object delta;
  delta["running"] = 10;
  delta["state"] = "succeeded";
  progress.merge(delta, TimePoint() + seconds(1));
  EXPECT_TRUE(progress.finished());
  EXPECT_TRUE(progress.succeeded());
  EXPECT_EQ(numberOf(progress.view(), "total"), 10);
}

TEST(Progress, TheBlockFitsNarrowTerminals) {
  Progress progress{TimePoint()};
  progress.merge(viewOf(4, 3, "active"), TimePoint());
  for (const std::size_t width : {20u, 40u, 80u, 300u}) {
    Screen screen;
    screen.is_terminal = true;
    screen.width = width;
    const auto lines = linesOf(progress.block(TimePoint() + seconds(1), screen));
    ASSERT_EQ(lines.size(), 3u);
    for (const std::string& line : lines) EXPECT_LE(line.size(), width + 1) << line;
  }
}

TEST(Progress, TheSummaryListsFailures) {
  Progress progress{TimePoint()};
  json::object view = viewOf(8, 2, "failed");
  json::object failure;
  failure["vm_name"] = "web7";
  failure["host"] = "host1";
  failure["error_class"] = "host_rejected";
  failure["error"] = "no disk";
  view["failures"] = json::array{failure};
  progress.merge(view, TimePoint());
  const std::string text = progress.summary(TimePoint() + seconds(1));
  EXPECT_NE(text.find("8 of 10 VMs up"), std::string::npos) << text;
  EXPECT_NE(text.find("web7 on host1: host_rejected: no disk"), std::string::npos) << text;
  EXPECT_NE(text.find("and 1 more"), std::string::npos) << text;
}

TEST(Span, IsShort) {
  EXPECT_EQ(spanOf(12), "12 ms");
  EXPECT_EQ(spanOf(12'345), "12.3 s");
  EXPECT_EQ(spanOf(130'000), "2 min 10 s");
  EXPECT_EQ(bytesOf(1536), "1.5 KiB");
}

}  // namespace
}  // namespace vms::runner::ctl
