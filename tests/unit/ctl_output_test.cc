#include <gtest/gtest.h>

#include "runner/ctl/output.h"
#include "runner/ctl/progress.h"
#include "runner/ctl/sse.h"
#include "runner/ctl/text_width.h"

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

TEST(Table, CutsFreeTextBeforeNames) {
  json::object row;
  row["name"] = "a-rather-long-name-of-a-vm";
  row["why"] = std::string(30, 'x');
  const std::vector<Column> columns = {{"name", "NAME"}, {"why", "WHY", true}};
  Screen screen;
  screen.width = 40;
  const std::string text = tableOf({row}, columns, screen);
  EXPECT_NE(text.find("a-rather-long-name-of-a-vm"), std::string::npos) << text;
  EXPECT_NE(text.find("x~"), std::string::npos) << text;
}

TEST(Table, NoLineIsWiderThanAnyTerminal) {
  json::array wide;
  for (const char* name :
       {"\xe6\xbc\xa2\xe5\xad\x97\xe4\xbb\xae\xe6\x83\xb3", "plain", "e\xcc\x81\xcc\x81"}) {
    json::object row;
    row["name"] = name;
    row["why"] = std::string(50, 'y');
    row["host"] = "\xf0\x9f\x9a\x80 rocket";
    wide.emplace_back(row);
  }
  for (std::size_t width = 1; width < 90; ++width) {
    Screen screen;
    screen.width = width;
    for (const std::string& line : linesOf(tableOf(wide, kColumns, screen))) {
      EXPECT_LE(widthOf(line), width) << line;
    }
  }
}

TEST(Table, WideCharactersKeepColumnsStraight) {
  json::array list;
  for (const char* name : {"\xe6\xbc\xa2\xe5\xad\x97", "abcd"}) {
    json::object row;
    row["name"] = name;
    row["why"] = "w";
    list.emplace_back(row);
  }
  const auto lines = linesOf(tableOf(list, {{"name", "N"}, {"why", "W"}}, Screen()));
  EXPECT_EQ(lines[1], "\xe6\xbc\xa2\xe5\xad\x97  w");
  EXPECT_EQ(lines[2], "abcd  w");
}

TEST(Table, StatesHaveColoursOnlyWhereTheScreenHas) {
  json::object row;
  row["state"] = "failed";
  const std::vector<Column> columns = {{"state", "STATE", false, true}};
  Screen screen;
  EXPECT_EQ(tableOf({row}, columns, screen), "STATE\nfailed\n");
  screen.colours = true;
  EXPECT_EQ(tableOf({row}, columns, screen), "\x1b[1mSTATE\x1b[0m\n\x1b[31mfailed\x1b[0m\n");
}

TEST(Text, NothingOfItCanDriveATerminal) {
  EXPECT_EQ(printable("a\x1b[2Jb\r\n\tc\x7f"), "a [2Jb   c ");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            " 31m");                                             // C1: control sequence introducer
  EXPECT_EQ(printable("x\xe2\x80\xaey"), "x y");                 // right-to-left override
  EXPECT_EQ(printable("\xff\xc3"), "\xef\xbf\xbd\xef\xbf\xbd");  // no UTF-8
  EXPECT_EQ(printable("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(printable("\xc3\xa4"), "\xc3\xa4");
}

TEST(Text, IsCutBetweenCharacters) {
  EXPECT_EQ(cutTo("\xe6\xbc\xa2\xe5\xad\x97", 4), "\xe6\xbc\xa2\xe5\xad\x97");
  EXPECT_EQ(cutTo("\xe6\xbc\xa2\xe5\xad\x97", 3), "\xe6\xbc\xa2~");
  EXPECT_EQ(cutTo("\xe6\xbc\xa2\xe5\xad\x97", 2), "~");
  EXPECT_EQ(cutTo("abc", 0), "");
}

TEST(Csv, NumbersArePlain) {
  json::object row;
  row["rate"] = 0.25;
  row["count"] = 7;
  EXPECT_EQ(csvOf({row}, {}), "rate,count\r\n0.25,7\r\n");
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

TEST(Progress, AFinishedRequestTookWhatItTookNotHowLongItWasWatched) {
  Progress progress{TimePoint()};
  json::object view = viewOf(10, 0, "succeeded");
  view["created_at"] = "2026-11-20T08:15:00.000Z";
  view["finished_at"] = "2026-11-20T08:15:02.500Z";
  progress.merge(view, TimePoint());
  const std::string text = progress.summary(TimePoint() + milliseconds(30));
  EXPECT_NE(text.find("10 of 10 VMs up in 2.5 s"), std::string::npos) << text;
}

TEST(Progress, CountsStopsInTheirOwnWords) {
  Progress progress(TimePoint(), stopCounting());
  json::object view;
  view["total"] = 4;
  view["stopping"] = 1;
  view["stopped"] = 2;
  view["refused"] = 1;
  progress.merge(view, TimePoint());
  EXPECT_EQ(
      progress.line(TimePoint() + seconds(1)).find("2/4 stopped  stopping 1  stopped 2  refused 1"),
      0u);
}

TEST(Span, IsShort) {
  EXPECT_EQ(spanOf(12), "12 ms");
  EXPECT_EQ(spanOf(12'345), "12.3 s");
  EXPECT_EQ(spanOf(130'000), "2 min 10 s");
  EXPECT_EQ(bytesOf(1536), "1.5 KiB");
}

TEST(Listing, LongMembersStandBelowTheirKey) {
  json::object object;
  object["memory"] = 1536;
  object["labels"] = json::object{{"tier", "web"}};
  object["attempt"] =
      json::object{{"attempt_id", std::string(36, 'a')}, {"run", std::string(36, 'b')}};
  object["names"] = json::array{std::string(36, 'c'), std::string(36, 'd')};
  EXPECT_EQ(listingOf(object),
            "memory:  1536 (1.5 KiB)\nlabels:  tier=web\nattempt:\n"
            "  attempt_id: " +
                std::string(36, 'a') + "\n  run:        " + std::string(36, 'b') + "\nnames:\n  " +
                std::string(36, 'c') + "\n  " + std::string(36, 'd') + "\n");
}

}  // namespace
}  // namespace vms::runner::ctl
