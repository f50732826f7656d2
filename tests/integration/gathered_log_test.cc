#include "schema/base/sqlite_gathered_log.h"

#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <string>
#include <string_view>
#include <vector>

#include "tests/integration/gathered_log_fixture.h"

namespace vms::test {
namespace {

using Kind = DiskEvent::Kind;

using GatheredLog = GatheredLogTest;

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kFrameBytes = 24 + kPageBytes;
constexpr std::size_t kPieceBytes = 64 << 10;

bool marked(std::string_view frame) {
  return frame.substr(4, 4) != std::string_view("\0\0\0\0", 4);
}

TEST_F(GatheredLog, ACommitIsAFewLargeWritesBeforeItsSync) {
  const DiskRecorder recorder(folder_.path(), Tearing::OnlyWritten);
  open();
  ASSERT_TRUE(commit(1, 1));
  const std::size_t before = recorder.events().size();
  ASSERT_TRUE(commit(100, 2));
  const auto events = ofLog(recorder, before);

  const auto sync = std::find_if(events.begin(), events.end(),
                                 [](const DiskEvent& event) { return event.kind != Kind::Write; });
  ASSERT_NE(sync, events.end());
  EXPECT_EQ(sync->kind, Kind::SyncFile);
  std::string frames;
  for (auto event = events.begin(); event != sync; ++event) {
    EXPECT_EQ(event->at, events.front().at + frames.size()) << "in order, without gaps";
    EXPECT_LE(event->bytes.size(), kPieceBytes);
    frames += event->bytes;
  }
  ASSERT_EQ(frames.size() % kFrameBytes, 0U);
  EXPECT_GE(frames.size() / kFrameBytes, 100U);
  EXPECT_LE(static_cast<std::size_t>(sync - events.begin()), frames.size() / kPieceBytes + 1);
  for (std::size_t at = 0; at < frames.size(); at += kFrameBytes) {
    const bool last = at + kFrameBytes == frames.size();
    EXPECT_EQ(marked(std::string_view(frames).substr(at)), last);
  }
  EXPECT_EQ(readAll(folder_ / "test.db-wal").substr(events.front().at, frames.size()), frames);
}

TEST_F(GatheredLog, AHeaderOfTheLogIsSyncedBeforeTheFrames) {
  const DiskRecorder recorder(folder_.path(), Tearing::OnlyWritten);
  open();
  ASSERT_TRUE(commit(30, 1));
  ASSERT_TRUE(db_->checkpoint());
  const std::size_t before = recorder.events().size();
  ASSERT_TRUE(commit(30, 2));
  const auto events = ofLog(recorder, before);
  ASSERT_GE(events.size(), 4U);
  EXPECT_EQ(events[0].kind, Kind::Write);
  EXPECT_EQ(events[0].at, 0U);
  EXPECT_EQ(events[0].bytes.size(), 32U);
  EXPECT_EQ(events[1].kind, Kind::SyncFile);
  EXPECT_EQ(events[2].kind, Kind::Write);
  EXPECT_EQ(events[2].at, 32U);
}

TEST_F(GatheredLog, ItIsFilledAheadAfterTheSyncAndThenOverwritten) {
  const DiskRecorder recorder(folder_.path(), Tearing::OnlyWritten);
  open();
  ASSERT_TRUE(commit(1, 1));
  const auto first = ofLog(recorder);
  ASSERT_EQ(first.back().kind, Kind::Write);
  EXPECT_EQ(first.back().bytes, std::string(kPieceBytes, '\0'));
  const auto size = std::filesystem::file_size(folder_ / "test.db-wal");
  EXPECT_EQ(size, first.back().at + kPieceBytes) << "nothing of it is held back";
  const auto last_sync = std::find_if(first.rbegin(), first.rend(), [](const DiskEvent& event) {
    return event.kind == Kind::SyncFile;
  });
  for (auto event = first.rbegin(); event != last_sync; ++event) {
    EXPECT_EQ(event->bytes, std::string(kPieceBytes, '\0'));
  }
  ASSERT_TRUE(commit(10, 2));
  EXPECT_EQ(std::filesystem::file_size(folder_ / "test.db-wal"), size);
}

TEST_F(GatheredLog, NothingIsToldOfBeforeItIsInTheFile) {
  DiskRecorder recorder(folder_.path(), Tearing::OnlyWritten);
  open();
  ASSERT_TRUE(commit(80, 1));
  auto reader = db_->openReader(1024);
  ASSERT_TRUE(reader);
  int looks = 0;
  bool synced = false;
  recorder.decideBy([&](const DiskEvent& event) {
    if (synced) return SQLITE_OK;  // It is filled ahead.
    EXPECT_EQ(find(**reader), (FoundRows{80, 1, 1})) << "before write " << looks;
    EXPECT_EQ(findAnew(), (FoundRows{80, 1, 1})) << "before write " << looks;
    ++looks;
    synced = event.kind == Kind::SyncFile;
    return SQLITE_OK;
  });
  ASSERT_TRUE(commit(80, 2));
  recorder.decideBy({});
  EXPECT_GE(looks, 5);
  EXPECT_EQ(find(**reader), (FoundRows{80, 2, 2}));
  EXPECT_EQ(findAnew(), (FoundRows{80, 2, 2}));
}

/// Where SQLite pads to whole sectors it writes the end of the padding after the sync, in pieces of
/// every size, and tells others of it at once.
TEST_F(GatheredLog, PaddingIsInTheFileWhenItIsToldOf) {
  const DiskRecorder recorder(folder_.path(), Tearing::Anything);
  open();
  std::int64_t number = 0;
  for (std::int64_t rows = 1; rows <= 70; ++rows) {
    ASSERT_TRUE(commit(rows, ++number));
    ASSERT_EQ(findAnew(), (FoundRows{rows, number, number}));
    if (rows % 16 == 0) {
      ASSERT_TRUE(db_->checkpoint());
    }
  }
  expectSound();
}

TEST_F(GatheredLog, ATransactionLargerThanItsCacheReadsWhatItHasWritten) {
  cache_kib_ = 32;
  open();
  ASSERT_TRUE(commit(20, 1));
  for (std::int64_t number = 2; number < 6; ++number) {
    const auto done = db_->transact([&] {
      SQLite::Database& db = db_->connection();
      put(db, 300, number + 100);
      EXPECT_EQ(find(db), (FoundRows{300, number + 100, number + 100}));
      db.exec("SAVEPOINT inner");
      put(db, 400, number + 200);
      EXPECT_EQ(find(db), (FoundRows{400, number + 200, number + 200}));
      db.exec("ROLLBACK TO inner; RELEASE inner");
      EXPECT_EQ(find(db), (FoundRows{300, number + 100, number + 100}));
      // Frames of this transaction are overwritten where they are.
      put(db, 300, number);
      EXPECT_EQ(findAnew().highest, number - 1);
    });
    ASSERT_TRUE(done) << done.error().message;
    ASSERT_EQ(findAnew(), (FoundRows{300, number, number}));
    if (number % 2 == 0) {
      ASSERT_TRUE(db_->checkpoint());
    }
  }
  expectSound();
  open();
  EXPECT_EQ(find(db_->connection()), (FoundRows{300, 5, 5}));
}

TEST_F(GatheredLog, WhatIsRolledBackLeavesItsPlaceToOtherWriters) {
  cache_kib_ = 32;
  open();
  ASSERT_TRUE(commit(10, 1));
  for (std::int64_t number = 2; number < 20; number += 2) {
    ASSERT_TRUE(db_->transact([] {})) << "a commit that writes nothing";
    const auto given_up = db_->transact([&] {
      put(db_->connection(), 200, 1000 + number);
      throw SQLite::Exception("no more", SQLITE_FULL);
    });
    ASSERT_FALSE(given_up);
    EXPECT_EQ(findAnew(), (FoundRows{10, number - 1, number - 1}));
    commitBy(*person(), 10, number);
    EXPECT_EQ(find(db_->connection()), (FoundRows{10, number, number}));
    EXPECT_EQ(findAnew(), (FoundRows{10, number, number}));
    ASSERT_TRUE(commit(10, number + 1));
    EXPECT_EQ(findAnew(), (FoundRows{10, number + 1, number + 1}));
  }
  expectSound();
}

// ---- which VFS is wrapped

TEST_F(GatheredLog, TheDefaultOfTheMomentIsWrapped) {
  const std::string plain = gatheredLogVfs();
  EXPECT_EQ(gatheredLogVfs(), plain);
  sqlite3_vfs* const base = sqlite3_vfs_find(nullptr);
  {
    const DiskRecorder recorder(folder_.path());
    EXPECT_NE(gatheredLogVfs(), plain);
    EXPECT_NE(sqlite3_vfs_find(nullptr), base);
    open();
    ASSERT_TRUE(commit(5, 1));
    db_.reset();
    // Also what is not a log's write reaches it, and that once.
    int logs_deleted = 0;
    for (const DiskEvent& event : ofLog(recorder)) logs_deleted += event.kind == Kind::Delete;
    EXPECT_EQ(logs_deleted, 1);
  }
  EXPECT_EQ(sqlite3_vfs_find(nullptr), base) << "it does not become the default itself";
  EXPECT_EQ(gatheredLogVfs(), plain);
  open();
  ASSERT_TRUE(commit(5, 2));
  EXPECT_EQ(findAnew(), (FoundRows{5, 2, 2}));
}

// ---- processes

class GatheredLogKilled : public GatheredLogTest {
 protected:
  /// Commits until it is killed, and tells each number; moves the log into the file now and then.
  [[noreturn]] void commitForEver(int told) {
    open();
    auto mover = db_->openMover();
    if (!mover) ::_exit(2);
    std::int64_t number =
        db_->connection().execAndGet("SELECT coalesce(max(number), 0) FROM rows").getInt64();
    for (;;) {
      ++number;
      if (!commit(50, number)) ::_exit(3);
      if (::write(told, &number, sizeof number) != sizeof number) ::_exit(4);
      if (number % 7 == 0 && !db_->checkpoint(**mover)) ::_exit(5);
    }
  }
};

TEST_F(GatheredLogKilled, LosesNoAnsweredCommitAndOthersSeeWholeOnes) {
  std::int64_t last = 0;
  for (int life = 0; life < 8; ++life) {
    std::array<int, 2> pipe{};
    ASSERT_EQ(::pipe(pipe.data()), 0);
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      ::close(pipe[0]);
      commitForEver(pipe[1]);
    }
    ::close(pipe[1]);
    std::int64_t number = 0;
    std::int64_t answered = 0;
    while (::read(pipe[0], &number, sizeof number) == sizeof number) {
      answered = number;
      if (answered >= last + 15) ::kill(pid, SIGKILL);
      if (answered % 2 == life % 2) continue;  // So that a kill meets other moments, too.
      const FoundRows found = findAnew();
      EXPECT_EQ(found.rows, 50);
      EXPECT_EQ(found.lowest, found.highest) << "half a commit";
      EXPECT_GE(found.lowest, answered);
    }
    ::close(pipe[0]);
    int status = 0;
    ::waitpid(pid, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status)) << "it ended by itself: " << WEXITSTATUS(status);
    ASSERT_GE(answered, last + 15);
    const FoundRows found = findAnew();
    EXPECT_EQ(found.lowest, found.highest);
    EXPECT_GE(found.lowest, answered) << "an answered commit is lost";
    EXPECT_LE(found.lowest, answered + 1);
    last = found.highest;
    expectSound();
  }
}

}  // namespace
}  // namespace vms::test
