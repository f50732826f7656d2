#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <csignal>
#include <vector>

#include "hostagent/sqlite_journal.h"
#include "schema/base/task_group.h"
#include "tests/integration/store_fixture.h"

namespace vms::test {
namespace {

using namespace hostagent;  // NOLINT(google-build-using-namespace): only tests of it follow.
using testing::HasSubstr;

ClaimRecord fullClaim(std::uint64_t number) {
  ClaimRecord record;
  record.claim = {
      {{uuidOf(4, number)}, {uuidOf(1, number)}, {number}}, "host-1", "boot-1", {9}, true};
  record.phase = ClaimPhase::Building;
  record.name = "vm";
  record.xml = "<domain>" + std::string(6000, 'x') + "</domain>";
  record.memory = std::uint64_t{1} << 41U;
  record.vcpus = 17;
  record.cancel_wished = true;
  record.ended_after_start = true;
  record.error_class = "host_rejected";
  record.error = "no such disk";
  record.stop_reason = "guest";
  record.started_acked = true;
  record.end_acked = true;
  record.acked_commit = 77;
  record.claimed_at = WallTime{1};
  record.build_started_at = WallTime{2};
  record.built_at = WallTime{3};
  record.running_at = WallTime{4};
  record.ended_at = WallTime{5};
  return record;
}

class Journal : public testing::Test {
 protected:
  Journal() { options_.path = folder_ / "journal.db"; }

  void open() {
    journal_.reset();
    auto opened = SqliteJournal::open(options_);
    ASSERT_TRUE(opened) << opened.error().message;
    journal_ = std::move(*opened);
  }
  Result<void> commit(std::vector<JournalChange> changes) {
    return await(journal_->commit(std::move(changes)));
  }
  JournalContents load() {
    auto loaded = journal_->load();
    EXPECT_TRUE(loaded) << loaded.error().message;
    return loaded ? std::move(*loaded) : JournalContents();
  }

  TempFolder folder_;
  SqliteJournalOptions options_;
  std::unique_ptr<SqliteJournal> journal_;
};

TEST_F(Journal, BeginsEmpty) {
  open();
  const auto contents = load();
  EXPECT_TRUE(contents.claims.empty());
  EXPECT_TRUE(contents.floors.empty());
  EXPECT_EQ(contents.marks, JournalMarks());
}

TEST_F(Journal, EveryMemberSurvivesARestart) {
  open();
  const JournalMarks marks{
      std::string("0123456\089abcdef", 16), 5, {uuidOf(7, 7)}, 6, "boot", "qemu:///system", "id"};
  std::vector<ClaimRecord> claims{fullClaim(1), fullClaim(2), ClaimRecord()};
  for (std::size_t i = 0; i < 2; ++i) claims[i].phase = static_cast<ClaimPhase>(i + 2);
  claims[2].claim.ref.attempt = {uuidOf(4, 3)};
  ASSERT_TRUE(commit({PutClaim{claims[0]}, PutClaim{claims[1]}, PutClaim{claims[2]},
                      PutFloor{{{uuidOf(1, 1)}, {8}}}, PutMarks{marks}}));
  open();
  const auto contents = load();
  EXPECT_EQ(contents.claims, claims);
  EXPECT_EQ(contents.floors, (std::vector<EpochFloor>{{{uuidOf(1, 1)}, {8}}}));
  EXPECT_EQ(contents.marks, marks);
}

TEST_F(Journal, AClaimIsReplacedWholeItsDocumentIncluded) {
  open();
  ClaimRecord record = fullClaim(1);
  ASSERT_TRUE(commit({PutClaim{record}}));
  record.xml = "<domain/>";
  record.phase = ClaimPhase::Claimed;
  ASSERT_TRUE(commit({PutClaim{record}}));
  open();
  EXPECT_EQ(load().claims, std::vector{record});
  ClaimRecord published;
  published.claim = record.claim;
  published.phase = ClaimPhase::Published;
  ASSERT_TRUE(commit({PutClaim{published}}));
  open();
  EXPECT_EQ(load().claims, std::vector{published});
}

TEST_F(Journal, DroppingForgetsOneClaimAndKeepsItsFloor) {
  open();
  ASSERT_TRUE(
      commit({PutClaim{fullClaim(1)}, PutClaim{fullClaim(2)}, PutFloor{{{uuidOf(1, 1)}, {1}}}}));
  ASSERT_TRUE(commit({DropClaim{{uuidOf(4, 1)}}, DropClaim{{uuidOf(4, 99)}}}));
  open();
  EXPECT_EQ(load().claims, std::vector{fullClaim(2)});
  EXPECT_EQ(load().floors.size(), 1U);
  // The document went too: it does not come back with a later claim without one.
  ClaimRecord again = fullClaim(1);
  again.xml.clear();
  ASSERT_TRUE(commit({PutClaim{again}}));
  open();
  EXPECT_EQ(load().claims.at(0).xml, "");
}

TEST_F(Journal, FloorsRiseAndNeverFall) {
  open();
  const VmId vm{uuidOf(1, 1)};
  ASSERT_TRUE(commit({PutFloor{{vm, {5}}}}));
  ASSERT_TRUE(commit({PutFloor{{vm, {3}}}, PutFloor{{vm, {5}}}}));
  EXPECT_EQ(load().floors.at(0).epoch, Epoch{5});
  ASSERT_TRUE(commit({PutFloor{{vm, {9}}}}));
  open();
  EXPECT_EQ(load().floors.at(0).epoch, Epoch{9});
  ASSERT_TRUE(commit({DropFloor{vm}}));
  open();
  EXPECT_TRUE(load().floors.empty());
}

TEST_F(Journal, WaitingCallsShareATransactionAndEndInTheirOrder) {
  open();
  constexpr std::size_t kCalls = 200;
  std::vector<std::size_t> order;
  {
    asio::io_context context;
    TaskGroup group(context.get_executor());
    for (std::size_t i = 0; i < kCalls; ++i) {
      group.spawn("commit", [&, i]() -> asio::awaitable<void> {
        std::vector<JournalChange> changes;
        changes.emplace_back(PutClaim{fullClaim(i)});
        const auto done = co_await journal_->commit(std::move(changes));
        EXPECT_TRUE(done);
        order.push_back(i);
      });
    }
    context.run();
  }
  ASSERT_EQ(order.size(), kCalls);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  // The first may go alone; what waits meanwhile goes together.
  EXPECT_LT(journal_->transactions(), kCalls / 2);
  open();
  EXPECT_EQ(load().claims.size(), kCalls);
}

TEST_F(Journal, LaterCallsOverwriteEarlierOnesOfTheSameTransaction) {
  open();
  {
    asio::io_context context;
    TaskGroup group(context.get_executor());
    for (std::uint64_t i = 0; i < 50; ++i) {
      group.spawn("commit", [&, i]() -> asio::awaitable<void> {
        std::vector<JournalChange> changes;
        ClaimRecord record = fullClaim(1);
        record.acked_commit = i;
        changes.emplace_back(PutClaim{std::move(record)});
        const auto done = co_await journal_->commit(std::move(changes));
        EXPECT_TRUE(done);
      });
    }
    context.run();
  }
  EXPECT_EQ(load().claims.at(0).acked_commit, 49U);
}

TEST_F(Journal, WhenFullNothingChangesAndSmallOnesGoOn) {
  open();
  journal_.reset();
  options_.max_pages =
      static_cast<std::uint32_t>(std::filesystem::file_size(options_.path) / 4096 + 8);
  open();
  std::vector<JournalChange> much;
  for (std::uint64_t i = 0; i < 50; ++i) much.emplace_back(PutClaim{fullClaim(i)});
  const auto full = commit(std::move(much));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().error_class, ErrorClass::StoreFull);
  EXPECT_TRUE(load().claims.empty());
  EXPECT_TRUE(commit({PutClaim{fullClaim(1)}}));
  open();
  EXPECT_EQ(load().claims, std::vector{fullClaim(1)});
}

TEST_F(Journal, EveryAcknowledgedClaimSurvivesAKill) {
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    ::close(pipe[0]);
    auto opened = SqliteJournal::open(options_);
    if (!opened) ::_exit(2);
    for (std::uint64_t i = 0;; ++i) {
      std::vector<JournalChange> changes{PutClaim{fullClaim(i)}};
      if (!await((*opened)->commit(std::move(changes)))) ::_exit(3);
      if (::write(pipe[1], &i, sizeof i) != sizeof i) ::_exit(4);
    }
  }
  ::close(pipe[1]);
  std::uint64_t acknowledged = 0;
  std::uint64_t number = 0;
  while (::read(pipe[0], &number, sizeof number) == sizeof number) {
    acknowledged = number;
    if (number == 40) ::kill(pid, SIGKILL);
  }
  ::close(pipe[0]);
  ::waitpid(pid, nullptr, 0);
  ASSERT_GE(acknowledged, 40U);
  open();
  const auto claims = load().claims;
  ASSERT_GE(claims.size(), acknowledged + 1);
  for (std::uint64_t i = 0; i <= acknowledged; ++i) EXPECT_EQ(claims[i], fullClaim(i));
}

TEST_F(Journal, IsOpenedOnceAndOnlyIfItIsOurs) {
  open();
  const auto second = SqliteJournal::open(options_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().error_class, ErrorClass::Busy);
  EXPECT_THAT(second.error().message, HasSubstr("claim journal"));
  journal_.reset();
  patch(options_.path, 60, std::string("\0\0\0\x09", 4));
  const std::string before = readAll(options_.path);
  const auto newer = SqliteJournal::open(options_);
  ASSERT_FALSE(newer);
  EXPECT_THAT(newer.error().message, HasSubstr("schema version 9"));
  EXPECT_TRUE(readAll(options_.path) == before);
}

TEST_F(Journal, WhatIsDamagedOrForeignIsRefusedUntouched) {
  open();
  ASSERT_TRUE(commit({PutClaim{fullClaim(1)}, PutClaim{fullClaim(2)}}));
  journal_.reset();
  const std::string whole = readAll(options_.path);
  const auto refused = [&](const std::string& what) {
    const std::string before = readAll(options_.path);
    const auto opened = SqliteJournal::open(options_);
    ASSERT_FALSE(opened) << what;
    EXPECT_EQ(opened.error().error_class, ErrorClass::Invalid) << what;
    EXPECT_THAT(opened.error().message, HasSubstr(options_.path.string())) << what;
    EXPECT_TRUE(readAll(options_.path) == before) << what;
    writeAll(options_.path, whole);
  };
  for (std::size_t page = 1; page < whole.size() / 4096; ++page) {
    // The end of a long text is a page without structure, where zeros are as good as any bytes.
    const bool tree = std::string("\2\5\12\15").find(whole[page * 4096]) != std::string::npos;
    if (tree) {
      patch(options_.path, page * 4096, std::string(4096, '\0'));
      refused("page " + std::to_string(page) + " is zero");
    }
    patch(options_.path, page * 4096, std::string(64, '\xa5'));
    refused("page " + std::to_string(page) + " is overwritten");
    std::filesystem::resize_file(options_.path, page * 4096);
    refused("cut after page " + std::to_string(page));
  }
  patch(options_.path, 68, std::string("VMSE", 4));
  refused("an engine's store");
  writeAll(options_.path, "");
  refused("empty");
  writeAll(options_.path, std::string(8192, 'x'));
  refused("no database");
  open();
  EXPECT_EQ(load().claims.size(), 2U);
}

TEST_F(Journal, AFolderInItsPlaceIsRefused) {
  std::filesystem::create_directory(options_.path);
  const auto opened = SqliteJournal::open(options_);
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, HasSubstr(options_.path.string()));
  EXPECT_TRUE(std::filesystem::is_directory(options_.path));
}

}  // namespace
}  // namespace vms::test
