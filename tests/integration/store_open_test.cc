#include <unistd.h>

#include <filesystem>
#include <string>

#include "hostagent/sqlite_journal.h"
#include "runner/marks_copy.h"
#include "schema/sql/engine_migrations.h"
#include "tests/integration/store_fixture.h"

namespace vms::test {
namespace {

using testing::HasSubstr;

constexpr std::size_t kSchemaVersionAt = 60;
constexpr std::size_t kApplicationIdAt = 68;

class StoreOpen : public StoreTest {
 protected:
  /// A closed database with some content.
  void make() {
    open();
    ASSERT_TRUE(commit(fullVm(1), fullHost("h")));
    close();
  }
  /// A closed database with one host, "h", that needs no operator.
  void confirmedHost() {
    open();
    auto host = fullHost("h");
    host.confirmed = true;
    ASSERT_TRUE(commit(host));
    close();
  }
  /// The refusal, after which the file is what it was.
  Error refused() {
    const std::string before = readAll(options_.path);
    const auto opened = tryOpen();
    EXPECT_FALSE(opened);
    EXPECT_TRUE(readAll(options_.path) == before) << "the file was changed";
    return opened ? Error() : opened.error();
  }
};

TEST_F(StoreOpen, ANewStoreHasAnIdOfItsOwnAndTermOne) {
  open();
  const auto first = load().marks;
  EXPECT_FALSE(first.store_id.uuid.isNil());
  EXPECT_EQ(first.term, Term{1});
  EXPECT_FALSE(first.restored);
}

TEST_F(StoreOpen, TheTermGrowsWithEveryStartAndTheIdStays) {
  open();
  const auto first = load().marks;
  reopen();
  const auto second = load().marks;
  EXPECT_EQ(second.term.value, first.term.value + 1);
  EXPECT_GT(second.commit, first.commit);
  EXPECT_EQ(second.store_id, first.store_id);
  EXPECT_FALSE(second.restored);
}

TEST_F(StoreOpen, CommitNumbersGoOnAfterARestart) {
  open();
  const auto first = commit(fullHost("a"));
  const auto second = commit(fullHost("b"));
  ASSERT_TRUE(first && second);
  EXPECT_EQ(second->value, first->value + 1);
  reopen();
  EXPECT_GT(load().marks.commit, *second);
}

TEST_F(StoreOpen, OnlyTheOwnerMayReadTheFiles) {
  make();
  for (const char* const name : {"engine.db", "marks.json", "reserve.bin"}) {
    EXPECT_EQ(std::filesystem::status(folder_ / name).permissions() & std::filesystem::perms(0777),
              std::filesystem::perms(0600))
        << name;
  }
}

TEST_F(StoreOpen, ASecondEngineIsRefusedWithTheProcessOfTheFirst) {
  open();
  const auto second = tryOpen();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().error_class, ErrorClass::Busy);
  EXPECT_THAT(second.error().message, HasSubstr("process " + std::to_string(::getpid())));
  EXPECT_THAT(second.error().message, HasSubstr(options_.path.string()));
  close();
  EXPECT_TRUE(tryOpen());
}

TEST_F(StoreOpen, AMissingFolderIsNamed) {
  options_.path = folder_ / "none" / "engine.db";
  const auto opened = tryOpen();
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, HasSubstr((folder_ / "none").string()));
}

TEST_F(StoreOpen, ANewerSchemaIsRefusedWithBothVersions) {
  make();
  patch(options_.path, kSchemaVersionAt, std::string("\0\0\0\x63", 4));
  const Error error = refused();
  EXPECT_EQ(error.error_class, ErrorClass::Invalid);
  EXPECT_THAT(error.message, HasSubstr(options_.path.string()));
  EXPECT_THAT(error.message, HasSubstr("schema version 99"));
  EXPECT_THAT(error.message, HasSubstr("up to " + std::to_string(engineMigrations().size())));
}

TEST_F(StoreOpen, AnotherProgramsDatabaseIsRefused) {
  make();
  patch(options_.path, kApplicationIdAt, std::string("\0\0\0\0", 4));
  EXPECT_THAT(refused().message, HasSubstr("another program"));
}

TEST_F(StoreOpen, AnAgentsJournalIsRefused) {
  hostagent::SqliteJournalOptions journal;
  journal.path = options_.path;
  ASSERT_TRUE(hostagent::SqliteJournal::open(journal));
  EXPECT_THAT(refused().message, HasSubstr("another program"));
}

TEST_F(StoreOpen, WhatIsNoDatabaseIsRefused) {
  writeAll(options_.path, std::string(8192, 'x'));
  EXPECT_THAT(refused().message, HasSubstr("is not an SQLite database"));
  writeAll(options_.path, "SQLite format 3");
  EXPECT_THAT(refused().message, HasSubstr("is not an SQLite database"));
  writeAll(options_.path, "");
  EXPECT_THAT(refused().message, HasSubstr("is empty"));
}

TEST_F(StoreOpen, ATruncatedDatabaseIsRefused) {
  make();
  const auto size = std::filesystem::file_size(options_.path);
  for (const std::uintmax_t cut : {size - 4096, size / 2, std::uintmax_t{4096}}) {
    const std::string whole = readAll(options_.path);
    std::filesystem::resize_file(options_.path, cut);
    const Error error = refused();
    EXPECT_EQ(error.error_class, ErrorClass::Invalid);
    EXPECT_THAT(error.message, HasSubstr(options_.path.string()));
    writeAll(options_.path, whole);
  }
  EXPECT_TRUE(tryOpen());
}

TEST_F(StoreOpen, ADamagedDatabaseIsRefused) {
  make();
  const std::string whole = readAll(options_.path);
  // Each page but the first, which carries what other tests change.
  for (std::size_t page = 1; page < whole.size() / 4096; page += 3) {
    patch(options_.path, page * 4096, std::string(64, '\xa5'));
    const Error error = refused();
    EXPECT_THAT(error.message, HasSubstr("restore it from a backup")) << "page " << page;
    writeAll(options_.path, whole);
  }
  EXPECT_TRUE(tryOpen());
}

TEST_F(StoreOpen, AZeroedPageIsRefused) {
  make();
  const std::string whole = readAll(options_.path);
  for (std::size_t page = 1; page < whole.size() / 4096; page += 3) {
    patch(options_.path, page * 4096, std::string(4096, '\0'));
    EXPECT_THAT(refused().message, HasSubstr("restore it from a backup")) << "page " << page;
    writeAll(options_.path, whole);
  }
}

TEST_F(StoreOpen, TheLogOfAnotherDatabaseIsRefused) {
  make();
  const std::string ours = readAll(options_.path);
  // Another store's log, longer and with other pages, left in ours's place by a wrong restore.
  const TempFolder other;
  const auto end = inChild([&] {
    options_.path = other / "engine.db";
    auto opened = tryOpen();
    if (!opened) return 2;
    for (std::uint64_t i = 0; i < 200; ++i) {
      std::vector<runner::Change> changes{fullVm(i), fullHost("h" + std::to_string(i))};
      if (!await((*opened)->commit(std::move(changes)))) return 3;
    }
    ::_exit(0);  // Without closing: its log stays.
  });
  ASSERT_TRUE(end.exitedWith(0)) << end.text;
  std::filesystem::copy_file(other / "engine.db-wal", folder_ / "engine.db-wal",
                             std::filesystem::copy_options::overwrite_existing);
  const auto opened = tryOpen();
  // Either it is refused untouched, or what is opened is the other store, whole, which the copy of
  // our marks tells from ours; never a mixture.
  if (!opened) {
    EXPECT_TRUE(readAll(options_.path) == ours);
  } else {
    const auto loaded = (*opened)->load();
    ASSERT_TRUE(loaded);
    EXPECT_TRUE(loaded->marks.restored);
    EXPECT_EQ(loaded->hosts.size(), 200U);
  }
}

TEST_F(StoreOpen, AFolderInItsPlaceIsRefused) {
  std::filesystem::create_directory(options_.path);
  const auto opened = tryOpen();
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, HasSubstr(options_.path.string()));
  EXPECT_THAT(opened.error().message, HasSubstr("directory"));
  EXPECT_TRUE(std::filesystem::is_directory(options_.path));
}

TEST_F(StoreOpen, WithoutPermissionItIsRefused) {
  make();
  const std::string before = readAll(options_.path);
  std::filesystem::permissions(folder_.path(), std::filesystem::perms(0755));
  std::filesystem::permissions(options_.path, std::filesystem::perms(0));
  const auto end = inChild([this] {
    // Permissions bind everybody but root.
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) return 77;
    const auto opened = tryOpen();
    if (opened) return 1;
    const std::string& text = opened.error().message;
    static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
    return 0;
  });
  if (end.exitedWith(77)) GTEST_SKIP() << "cannot become another user";
  EXPECT_TRUE(end.exitedWith(0)) << end.text;
  EXPECT_THAT(end.text, HasSubstr("ermission denied"));
  EXPECT_TRUE(readAll(options_.path) == before);
}

TEST_F(StoreOpen, ALogWithoutItsDatabaseIsRefused) {
  make();
  std::filesystem::remove(options_.path);
  writeAll(folder_ / "engine.db-wal", "something");
  const auto opened = tryOpen();
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, HasSubstr("-wal"));
  EXPECT_FALSE(std::filesystem::exists(options_.path));
}

TEST_F(StoreOpen, AHalfMadeNewDatabaseIsBegunAgain) {
  writeAll(folder_ / "engine.db.new", "left by a crash");
  open();
  ASSERT_TRUE(commit(fullHost("h")));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "engine.db.new"));
}

TEST_F(StoreOpen, AnOldDatabasePutBackIsNoticedAndCountersGoOnAbove) {
  make();
  const std::string backup = readAll(options_.path);
  open();
  const auto at_backup = load().marks;
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(commit(fullHost("later")));
  const auto last = commit(fullHost("last"));
  ASSERT_TRUE(last);
  close();

  writeAll(options_.path, backup);
  open();
  const auto marks = load().marks;
  EXPECT_TRUE(marks.restored);
  EXPECT_GT(marks.term, at_backup.term);
  EXPECT_GT(marks.commit, *last);
  EXPECT_EQ(marks.store_id, at_backup.store_id);
  reopen();
  EXPECT_TRUE(load().marks.restored) << "only an operator clears it";
  ASSERT_TRUE(await(store_->setRestored(false)));
  reopen();
  EXPECT_FALSE(load().marks.restored);
}

TEST_F(StoreOpen, PuttingItBackTakesTheHostsConfirmationsAway) {
  confirmedHost();
  const std::string backup = readAll(options_.path);
  open();
  EXPECT_TRUE(load().hosts.at(0).confirmed);
  ASSERT_TRUE(commit(fullHost("later")));
  close();
  writeAll(options_.path, backup);
  open();
  EXPECT_FALSE(load().hosts.at(0).confirmed);
  // A confirmation from now on counts, over starts, until it is put back again.
  auto host = fullHost("h");
  host.confirmed = true;
  ASSERT_TRUE(commit(host));
  reopen();
  EXPECT_TRUE(load().marks.restored);
  EXPECT_TRUE(load().hosts.at(0).confirmed);
  ASSERT_TRUE(await(store_->setRestored(true)));
  EXPECT_FALSE(load().hosts.at(0).confirmed);
}

TEST_F(StoreOpen, AnotherStoreInItsPlaceCountsAsPutBack) {
  make();
  for (const char* const name : {"engine.db", "engine.db-wal", "engine.db-shm"}) {
    std::filesystem::remove(folder_ / name);
  }
  open();
  const auto marks = load().marks;
  EXPECT_TRUE(marks.restored);
  EXPECT_EQ(marks.term, Term{2});
}

TEST_F(StoreOpen, TheOperatorsWordMarksItRestored) {
  confirmedHost();
  options_.restored = true;
  open();
  EXPECT_TRUE(load().marks.restored);
  EXPECT_FALSE(load().hosts.at(0).confirmed) << "confirmed is what was before";
  options_.restored = false;
  reopen();
  EXPECT_TRUE(load().marks.restored);
}

TEST_F(StoreOpen, AMissingOrBrokenCopyOfTheMarksProvesNothing) {
  make();
  const auto copy = folder_ / "marks.json";
  for (const char* const text :
       {"", "{", "[]", "{\"store_id\":\"x\",\"term\":1,\"commit\":1}",
        "{\"store_id\":\"00000000-0000-0000-0000-000000000000\",\"term\":-1,\"commit\":1}"}) {
    writeAll(copy, text);
    open();
    EXPECT_FALSE(load().marks.restored) << text;
    close();
  }
  std::filesystem::remove(copy);
  open();
  EXPECT_FALSE(load().marks.restored);
  EXPECT_TRUE(std::filesystem::exists(copy));
}

TEST_F(StoreOpen, TheCopyFollowsLazilyAndAtTheEnd) {
  open();
  ASSERT_TRUE(commit(fullHost("a")));
  clock_.now_ns += Duration(seconds(6)).count();
  ASSERT_TRUE(commit(fullHost("b")));
  // A query runs on the thread that writes the copy, after it.
  ASSERT_TRUE(await(store_->history({})));
  const auto lazy = runner::readMarksCopy(folder_ / "marks.json");
  ASSERT_TRUE(lazy);
  const auto last = commit(fullHost("c"));
  ASSERT_TRUE(last);
  EXPECT_EQ(lazy->commit.value + 1, last->value);
  close();
  const auto final_copy = runner::readMarksCopy(folder_ / "marks.json");
  ASSERT_TRUE(final_copy);
  EXPECT_EQ(final_copy->commit, *last);
}

TEST_F(StoreOpen, EveryTermKnowsWhereItBegan) {
  open();
  const auto first = load().marks;
  ASSERT_TRUE(commit(fullHost("a")));
  const auto last = commit(fullHost("b"));
  ASSERT_TRUE(last);
  reopen();
  auto terms = load().terms;
  ASSERT_EQ(terms.size(), 2U);
  EXPECT_LT(terms.at(first.term).before, first.commit);
  EXPECT_EQ(terms.at(first.term).id, first.start);
  EXPECT_EQ(terms.at(load().marks.term).before, *last);
  EXPECT_EQ(terms.at(load().marks.term).id, load().marks.start);
  ASSERT_TRUE(await(store_->raiseMarks(Term{5'000}, CommitNumber{9'000})));
  terms = load().terms;
  ASSERT_EQ(terms.size(), 1U) << "very old ones go";
  EXPECT_EQ(terms.at(Term{5'001}).before, CommitNumber{9'000});
}

TEST_F(StoreOpen, TwoStartsOnCopiesOfOneDatabaseShareATermButNoStartId) {
  open();
  close();
  const TempFolder copy;
  std::filesystem::copy(folder_.path(), copy.path());
  open();
  const auto one = load().marks;
  close();
  for (const auto& file : std::filesystem::directory_iterator(folder_.path())) {
    std::filesystem::remove(file);
  }
  std::filesystem::copy(copy.path(), folder_.path());
  open();
  const auto other = load().marks;
  EXPECT_EQ(one.term, other.term);
  EXPECT_FALSE(one.start.uuid.isNil());
  EXPECT_FALSE(other.start.uuid.isNil());
  EXPECT_NE(one.start, other.start);
}

TEST_F(StoreOpen, CountersAreRaisedAboveWhatAHostHasSeen) {
  open();
  const auto before = load().marks;
  auto raised = await(store_->raiseMarks(Term{50}, CommitNumber{1000}));
  ASSERT_TRUE(raised);
  EXPECT_EQ(raised->term, Term{51});
  EXPECT_EQ(raised->commit, CommitNumber{1001});
  EXPECT_EQ(raised->store_id, before.store_id);
  EXPECT_NE(raised->start, before.start);
  EXPECT_EQ(load().marks.start, raised->start);
  // What a host saw under our own term comes from another life of this store.
  raised = await(store_->raiseMarks(Term{51}, CommitNumber{5}));
  ASSERT_TRUE(raised);
  EXPECT_EQ(raised->term, Term{52});
  EXPECT_EQ(raised->commit, CommitNumber{1002});
  raised = await(store_->raiseMarks(Term{3}, CommitNumber{2000}));
  ASSERT_TRUE(raised);
  EXPECT_EQ(raised->term, Term{52});
  const auto next = commit(fullHost("h"));
  ASSERT_TRUE(next);
  EXPECT_EQ(*next, CommitNumber{2002});
  reopen();
  EXPECT_EQ(load().marks.term, Term{53});
}

}  // namespace
}  // namespace vms::test
