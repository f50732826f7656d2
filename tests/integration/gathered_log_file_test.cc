#include <sqlite3.h>

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "schema/base/sqlite_gathered_log.h"
#include "tests/integration/gathered_log_fixture.h"

namespace vms::test {
namespace {

using Kind = DiskEvent::Kind;

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kFrameBytes = 24 + kPageBytes;
constexpr std::size_t kPieceBytes = 64 << 10;

/// Drives a log as SQLite could, but does not in the midst of a commit.
class LogFileAlone : public GatheredLogTest {
 protected:
  void SetUp() override {
    open();
    ASSERT_TRUE(commit(1, 1));
    sqlite3_file_control(handle(), nullptr, SQLITE_FCNTL_JOURNAL_POINTER,
                         static_cast<void*>(&log_));
    ASSERT_NE(log_, nullptr);
    ASSERT_EQ(log_->pMethods->xFileSize(log_, &end_), SQLITE_OK);
    seen_ = recorder_.events().size();
  }
  void TearDown() override { db_.reset(); }
  sqlite3* handle() { return db_->connection().getHandle(); }
  void write(sqlite3_int64 at, std::size_t bytes, char fill = '\0') {
    const std::string content(bytes, fill);
    EXPECT_EQ(log_->pMethods->xWrite(log_, content.data(), static_cast<int>(bytes), at), SQLITE_OK);
  }
  /// An unmarked header and a page, at the end.
  void frame() {
    write(end_, 24);
    write(end_ + 24, kPageBytes, 'p');
  }
  /// Where and how much has been written since the last time.
  std::vector<std::pair<std::uint64_t, std::size_t>> written() {
    std::vector<std::pair<std::uint64_t, std::size_t>> pieces;
    for (const DiskEvent& event : ofLog(recorder_, seen_)) {
      if (event.kind == Kind::Write) pieces.emplace_back(event.at, event.bytes.size());
    }
    seen_ = recorder_.events().size();
    return pieces;
  }
  using Pieces = std::vector<std::pair<std::uint64_t, std::size_t>>;

  DiskRecorder recorder_{folder_.path(), Tearing::OnlyWritten};
  sqlite3_file* log_ = nullptr;
  sqlite3_int64 end_ = 0;
  std::size_t seen_ = 0;
};

TEST_F(LogFileAlone, EverythingElseComesAfterWhatWasGathered) {
  const auto end = static_cast<std::uint64_t>(end_);
  const Pieces whole{{end, kFrameBytes}};
  const GatheredCommit gathered(handle());
  frame();
  EXPECT_EQ(written(), Pieces());
  std::array<char, 3> found{};
  EXPECT_EQ(log_->pMethods->xRead(log_, found.data(), 3, end_ + 23), SQLITE_OK);
  EXPECT_EQ(std::string_view(found.data(), 3), std::string_view("\0pp", 3));
  EXPECT_EQ(written(), whole);
  frame();
  sqlite3_int64 size = 0;
  EXPECT_EQ(log_->pMethods->xFileSize(log_, &size), SQLITE_OK);
  EXPECT_EQ(size, end_ + static_cast<sqlite3_int64>(kFrameBytes));
  EXPECT_EQ(written(), whole);
  frame();
  EXPECT_EQ(log_->pMethods->xSync(log_, SQLITE_SYNC_NORMAL), SQLITE_OK);
  EXPECT_EQ(written(), whole);
  frame();
  sqlite3_int64 hint = end_;
  EXPECT_EQ(log_->pMethods->xFileControl(log_, SQLITE_FCNTL_SIZE_HINT, &hint), SQLITE_OK);
  EXPECT_EQ(written(), whole);
  frame();
  EXPECT_EQ(log_->pMethods->xTruncate(log_, end_), SQLITE_OK);
  EXPECT_EQ(written(), whole);
}

TEST_F(LogFileAlone, WhatDoesNotContinueOrFitComesAfterIt) {
  const auto end = static_cast<std::uint64_t>(end_);
  const GatheredCommit gathered(handle());
  frame();
  frame();
  EXPECT_EQ(written(), (Pieces{{end, kFrameBytes}}));
  write(end_ + 2 * static_cast<sqlite3_int64>(kPieceBytes), 10);
  EXPECT_EQ(written(), (Pieces{{end, kFrameBytes}}));
  write(0, kPieceBytes + 1);
  EXPECT_EQ(written(), (Pieces{{end + 2 * kPieceBytes, 10}, {0, kPieceBytes + 1}}));
  for (std::size_t at = 0; at < 3 * kPieceBytes; at += kPieceBytes / 16) {
    write(static_cast<sqlite3_int64>(at), kPieceBytes / 16);
  }
  EXPECT_EQ(written(), (Pieces{{0, kPieceBytes}, {kPieceBytes, kPieceBytes}}));
}

TEST_F(LogFileAlone, WithTheMarkedFrameGatheringEnds) {
  const auto end = static_cast<std::uint64_t>(end_);
  const GatheredCommit gathered(handle());
  frame();
  write(end_ + static_cast<sqlite3_int64>(kFrameBytes), 24, 'm');
  EXPECT_EQ(written(), Pieces());
  write(end_ + static_cast<sqlite3_int64>(kFrameBytes) + 24, kPageBytes);
  EXPECT_EQ(written(), (Pieces{{end, 2 * kFrameBytes}}));
  frame();
  EXPECT_EQ(written(), (Pieces{{end, 24}, {end + 24, kPageBytes}}));
}

TEST_F(LogFileAlone, AMarkedFrameMayBeginAPiece) {
  const auto end = static_cast<std::uint64_t>(end_);
  constexpr std::size_t kHeader = 24;
  for (const std::size_t before : {kPieceBytes - kHeader, kPieceBytes - kFrameBytes + 1}) {
    const GatheredCommit gathered(handle());
    write(end_, before);
    write(end_ + static_cast<sqlite3_int64>(before), kHeader, 'm');
    write(end_ + static_cast<sqlite3_int64>(before + kHeader), kPageBytes);
    EXPECT_EQ(written(), (Pieces{{end, before + kHeader}, {end + before + kHeader, kPageBytes}}));
    write(0, kHeader);
    EXPECT_EQ(written(), (Pieces{{0, kHeader}}));
  }
}

TEST_F(LogFileAlone, WhatACommitWouldLeaveIsForgotten) {
  {
    const GatheredCommit gathered(handle());
    frame();
  }
  frame();
  EXPECT_EQ(written(), (Pieces{{static_cast<std::uint64_t>(end_), 24},
                               {static_cast<std::uint64_t>(end_) + 24, kPageBytes}}))
      << "straight, and once";
  {
    const GatheredCommit gathered(handle());
    frame();
    recorder_.decideBy([](const DiskEvent&) { return SQLITE_FULL; });
    EXPECT_EQ(log_->pMethods->xSync(log_, SQLITE_SYNC_NORMAL), SQLITE_FULL);
    recorder_.decideBy({});
    EXPECT_EQ(log_->pMethods->xSync(log_, SQLITE_SYNC_NORMAL), SQLITE_OK);
  }
  EXPECT_EQ(written(), Pieces()) << "what could not be written is not tried again";
}

}  // namespace
}  // namespace vms::test
