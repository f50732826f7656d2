#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <set>
#include <vector>

#include "runner/sqlite_backup.h"
#include "schema/base/unique_fd.h"
#include "tests/integration/store_fixture.h"

namespace vms::test {
namespace {

using testing::HasSubstr;

constexpr std::size_t kSchemaVersionAt = 60;

class StoreBackup : public StoreTest {
 protected:
  Result<runner::BackupContents> backup() {
    return runner::backupStore(options_.path, copy_, progress_);
  }
  /// The refusal, after which there is neither a copy nor a part of one.
  Error refused() {
    const auto made = backup();
    EXPECT_FALSE(made);
    EXPECT_FALSE(std::filesystem::exists(copy_));
    EXPECT_FALSE(std::filesystem::exists(copy_.string() + ".part"));
    return made ? Error() : made.error();
  }
  void make() {
    open();
    auto defined = fullVm(2);
    defined.defined = true;
    ASSERT_TRUE(commit(fullVm(1), defined, fullHost("h"), fullAttempt(1)));
    close();
  }
  /// The copy in the place of the store, as an operator puts it back.
  void restore() {
    for (const char* const name : {"engine.db", "engine.db-wal", "engine.db-shm", "marks.json"}) {
      std::filesystem::remove(folder_ / name);
    }
    std::filesystem::rename(copy_, options_.path);
  }

  std::filesystem::path copy_ = folder_ / "copy.db";
  std::function<void(std::uint64_t, std::uint64_t)> progress_;
};

/// A process that opens the store and commits one host after the other until it is killed.
class Committer {
 public:
  explicit Committer(const std::function<Result<std::unique_ptr<runner::SqliteStore>>()>& open) {
    int pipe[2];
    if (::pipe(pipe) != 0) throw std::runtime_error("no pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      auto store = open();
      if (!store) ::_exit(2);
      for (std::uint64_t i = 0;; ++i) {
        std::vector<runner::Change> changes{fullHost("h" + std::to_string(i))};
        if (!await((*store)->commit(std::move(changes)))) ::_exit(3);
        if (::write(pipe[1], &i, sizeof i) != sizeof i) ::_exit(4);
      }
    }
    ::close(pipe[1]);
    answers_ = UniqueFd(pipe[0]);
  }
  ~Committer() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  /// Waits for one more commit; its number.
  std::uint64_t next() {
    std::uint64_t number = 0;
    if (::read(answers_.get(), &number, sizeof number) != sizeof number) {
      throw std::runtime_error("the committing process ended");
    }
    return number;
  }

 private:
  pid_t pid_ = -1;
  UniqueFd answers_;
};

TEST_F(StoreBackup, ACopyHoldsEverythingAndSaysSo) {
  make();
  const auto made = backup();
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->vms, 1U) << "the other one is undefined";
  EXPECT_EQ(made->hosts, 1U);
  EXPECT_EQ(made->attempts, 1U);
  EXPECT_EQ(made->open_attempts, 1U);
  EXPECT_EQ(made->bytes, std::filesystem::file_size(copy_));
  EXPECT_EQ(std::filesystem::status(copy_).permissions() & std::filesystem::perms(0777),
            std::filesystem::perms(0600));
  for (const char* const suffix : {".part", "-wal", "-shm", "-journal"}) {
    EXPECT_FALSE(std::filesystem::exists(copy_.string() + suffix)) << suffix;
  }

  open();
  const auto original = load();
  close();
  restore();
  open();
  const auto restored = load();
  EXPECT_EQ(restored.vms, original.vms);
  EXPECT_EQ(restored.attempts, original.attempts);
  ASSERT_EQ(restored.hosts.size(), 1U);
  EXPECT_EQ(restored.hosts.at(0).id, "h");
  EXPECT_EQ(restored.marks.store_id, original.marks.store_id);
  EXPECT_EQ(restored.marks.store_id, made->marks.store_id);
  EXPECT_GT(restored.marks.term, made->marks.term);
  EXPECT_GT(restored.marks.commit, made->marks.commit);
}

TEST_F(StoreBackup, AnEngineOnACopyWaitsForAnOperatorByItself) {
  open();
  auto host = fullHost("h");
  host.confirmed = true;
  ASSERT_TRUE(commit(host));
  close();
  ASSERT_TRUE(backup());
  restore();
  open();
  EXPECT_TRUE(load().marks.restored);
  EXPECT_FALSE(load().hosts.at(0).confirmed);
  reopen();
  EXPECT_TRUE(load().marks.restored);
}

TEST_F(StoreBackup, IsOneMomentWhileAnEngineCommits) {
  open();
  std::vector<runner::Change> much;
  for (std::uint64_t i = 0; i < 1500; ++i) much.emplace_back(fullVm(i));
  ASSERT_TRUE(await(store_->commit(std::move(much))));
  close();

  std::uint64_t before = 0;
  std::uint64_t meanwhile = 0;
  std::size_t steps = 0;
  Result<runner::BackupContents> made = Error(ErrorClass::Internal, "not made");
  {
    Committer committer([this] { return tryOpen(); });
    while (before < 5) before = committer.next();
    progress_ = [&](std::uint64_t done, std::uint64_t total) {
      EXPECT_LE(done, total);
      ++steps;
      // The step is over only once the engine has committed again: neither waits for the other.
      for (int i = 0; i < 3; ++i) meanwhile = committer.next();
    };
    made = backup();
  }
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_GT(steps, 5U);
  EXPECT_GT(meanwhile, before + steps);

  restore();
  open();
  const auto snapshot = load();
  EXPECT_EQ(snapshot.vms.size(), 1500U);
  // A prefix of the commits: everything answered before, nothing of later than its own number.
  std::set<std::string> hosts;
  for (const auto& host : snapshot.hosts) hosts.insert(host.id);
  EXPECT_EQ(hosts.size(), made->hosts);
  EXPECT_GT(hosts.size(), before);
  EXPECT_LT(hosts.size(), meanwhile);
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    EXPECT_TRUE(hosts.contains("h" + std::to_string(i))) << i;
  }
}

TEST_F(StoreBackup, TakesWhatIsOnlyInTheLogOfAnEngineThatDied) {
  {
    Committer committer([this] { return tryOpen(); });
    while (committer.next() < 20) {
    }
  }
  ASSERT_TRUE(std::filesystem::file_size(folder_ / "engine.db-wal") > 0);
  const auto made = backup();
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_GE(made->hosts, 21U);
}

TEST_F(StoreBackup, OverwritesNothing) {
  make();
  writeAll(copy_, "precious");
  auto made = backup();
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, HasSubstr(copy_.string() + " exists"));
  EXPECT_EQ(readAll(copy_), "precious");
  std::filesystem::remove(copy_);
  std::filesystem::create_symlink(folder_ / "nowhere", copy_);
  made = backup();
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, HasSubstr("exists"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "nowhere"));
  // The name is taken meanwhile.
  std::filesystem::remove(copy_);
  progress_ = [this](std::uint64_t, std::uint64_t) { writeAll(copy_, "came later"); };
  made = backup();
  ASSERT_FALSE(made);
  EXPECT_EQ(readAll(copy_), "came later");
  EXPECT_FALSE(std::filesystem::exists(copy_.string() + ".part"));
}

TEST_F(StoreBackup, WhatACrashLeftIsBegunAgain) {
  make();
  writeAll(copy_.string() + ".part", std::string(100'000, 'x'));
  writeAll(copy_.string() + ".part-wal", "left as well");
  EXPECT_TRUE(backup());
  EXPECT_FALSE(std::filesystem::exists(copy_.string() + ".part"));
  EXPECT_FALSE(std::filesystem::exists(copy_.string() + ".part-wal"));
}

TEST_F(StoreBackup, TwoOfTheSameNameDoNotMeet) {
  make();
  const auto part = copy_.string() + ".part";
  writeAll(part, "of another one");
  const UniqueFd other(::open(part.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::flock(other.get(), LOCK_EX | LOCK_NB), 0);
  const auto made = backup();
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().error_class, ErrorClass::Busy);
  EXPECT_EQ(readAll(part), "of another one");
}

TEST_F(StoreBackup, OnlyASoundStoreOfOursIsCopied) {
  EXPECT_THAT(refused().message, HasSubstr(options_.path.string() + " does not exist"));
  EXPECT_FALSE(std::filesystem::exists(options_.path));
  make();
  const std::string whole = readAll(options_.path);
  writeAll(options_.path, std::string(8192, 'x'));
  EXPECT_THAT(refused().message, HasSubstr("is not an SQLite database"));
  writeAll(options_.path, whole);
  patch(options_.path, kSchemaVersionAt, std::string("\0\0\0\x63", 4));
  EXPECT_THAT(refused().message, HasSubstr("schema version 99"));
  writeAll(options_.path, whole);
  for (std::size_t page = 1; page < whole.size() / 4096; page += 5) {
    patch(options_.path, page * 4096, std::string(64, '\xa5'));
    EXPECT_THAT(refused().message, testing::AnyOf(HasSubstr("damaged"), HasSubstr("malformed")))
        << "page " << page;
    writeAll(options_.path, whole);
  }
  EXPECT_TRUE(backup());
}

TEST_F(StoreBackup, AMissingFolderIsNamed) {
  make();
  copy_ = folder_ / "none" / "copy.db";
  EXPECT_THAT(refused().message, HasSubstr(copy_.string()));
}

}  // namespace
}  // namespace vms::test
