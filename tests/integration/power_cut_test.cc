#include <SQLiteCpp/SQLiteCpp.h>

#include <cstdlib>
#include <memory>
#include <set>
#include <vector>

#include "hostagent/sqlite_journal.h"
#include "runner/marks_copy.h"
#include "schema/base/sqlite_db.h"
#include "tests/integration/power_cut.h"
#include "tests/integration/store_fixture.h"

namespace vms::test {
namespace {

constexpr std::uint64_t kCommits = 24;
constexpr std::uint64_t kRows = 6;  ///< Of a commit: each rewrites all of them.
constexpr std::size_t kCuts = 150;

std::uint64_t chosenSeed() {
  const char* const given = std::getenv("VMS_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : seedFromSystem();
}

/// Where hundreds of databases are opened without waiting for a disk, if there is such a place.
std::string memoryFolder() {
  return std::filesystem::is_directory("/dev/shm") ? "/dev/shm/" : testing::TempDir();
}

/// Records what production code does to a database, cuts the power everywhere, and lets production
/// code open what is left.
class PowerCutTest : public testing::Test {
 protected:
  PowerCutTest() : rng_(seed_) {
    std::printf("seed %llu (VMS_SEED repeats it)\n", static_cast<unsigned long long>(seed_));
  }

  /// Calls `opens(folder, acknowledged)` for each cut, in a folder with what survived. The number
  /// of cuts; stops at the first that fails.
  template <class Opens>
  std::size_t forEachCut(const std::vector<DiskEvent>& events, const std::vector<PowerCut>& cuts,
                         Opens opens) {
    std::size_t done = 0;
    for (const PowerCut& cut : cuts) {
      const TempFolder after(memoryFolder());
      for (const auto& [name, content] : filesAfter(events, cut, rng_)) {
        writeAll(after / name, content);
      }
      opens(after, lastNote(events, cut));
      ++done;
      if (HasFailure()) {
        ADD_FAILURE() << "power cut after event " << cut.after << " of " << events.size()
                      << ", unsynced " << static_cast<int>(cut.unsynced) << ", seed " << seed_;
        break;
      }
    }
    return done;
  }

  const std::uint64_t seed_ = chosenSeed();
  Rng rng_;
  TempFolder folder_;
};

// ---- the engine's store

class StorePowerCut : public PowerCutTest {
 protected:
  static std::vector<runner::Change> generation(std::uint64_t number) {
    std::vector<runner::Change> changes;
    for (std::uint64_t row = 0; row < kRows; ++row) {
      runner::VmRecord vm = fullVm(row);
      vm.epoch = {number};
      vm.updated_at = {static_cast<std::int64_t>(number)};
      vm.xml =
          "<domain>" + std::string(3000 + (number * 977 + row * 331) % 9000, 'a') + "</domain>";
      changes.emplace_back(std::move(vm));
    }
    changes.emplace_back(placedAttempt(number));
    return changes;
  }

  runner::SqliteStoreOptions options(const TempFolder& folder) const {
    runner::SqliteStoreOptions options;
    options.path = folder / "engine.db";
    options.reserve_bytes = 0;
    options.retention = std::chrono::hours(24 * 366 * 100);
    return options;
  }

  /// Several lives of an engine; a note follows each answer.
  std::vector<DiskEvent> record() {
    DiskRecorder recorder(folder_.path());
    std::uint64_t number = 0;
    for (int life = 0; life < 3; ++life) {
      auto store = runner::SqliteStore::open(options(folder_), clock_);
      EXPECT_TRUE(store) << store.error().message;
      for (std::uint64_t i = 0; i < kCommits / 3; ++i) {
        ++number;
        clock_.now_ns += Duration(seconds(2)).count();
        EXPECT_TRUE(await((*store)->commit(generation(number))));
        recorder.note(number);
      }
    }
    return recorder.events();
  }

  void opensWhole(const TempFolder& after, std::uint64_t acknowledged) {
    const auto copy = runner::readMarksCopy(after / "marks.json");
    auto store = runner::SqliteStore::open(options(after), clock_);
    ASSERT_TRUE(store) << store.error().message;
    const auto loaded = (*store)->load();
    ASSERT_TRUE(loaded) << loaded.error().message;
    EXPECT_FALSE(loaded->marks.restored) << "the copy of the marks ran ahead of the database";
    if (copy) {
      EXPECT_EQ(loaded->marks.store_id, copy->store_id);
      EXPECT_GT(loaded->marks.term, copy->term);
      EXPECT_GT(loaded->marks.commit, copy->commit);
    }
    EXPECT_GT(loaded->marks.commit.value, acknowledged);

    std::set<std::uint64_t> generations;
    for (const auto& vm : loaded->vms) generations.insert(vm.epoch.value);
    ASSERT_LE(generations.size(), 1U) << "half a transaction";
    const std::uint64_t found = generations.empty() ? 0 : *generations.begin();
    EXPECT_EQ(loaded->vms.size(), found == 0 ? 0U : kRows);
    EXPECT_GE(found, acknowledged) << "an answered commit is lost";
    EXPECT_LE(found, acknowledged + 1) << "a commit from the future";
    EXPECT_EQ(loaded->attempts.size(), found);
    if (found == 0) return;
    for (const auto& change : generation(found)) {
      if (const auto* vm = std::get_if<runner::VmRecord>(&change)) {
        EXPECT_NE(std::find(loaded->vms.begin(), loaded->vms.end(), *vm), loaded->vms.end());
      }
    }
    // It goes on from there.
    EXPECT_TRUE(await((*store)->commit(generation(found + 1))));
  }

  HandClock clock_;
};

TEST_F(StorePowerCut, EveryAnsweredCommitSurvivesWhole) {
  const auto events = record();
  const auto cuts = powerCuts(events, kCuts, rng_);
  const std::size_t done =
      forEachCut(events, cuts, [this](const TempFolder& after, std::uint64_t acknowledged) {
        opensWhole(after, acknowledged);
      });
  EXPECT_EQ(done, kCuts);
  std::printf("%zu power cuts in %zu events\n", done, events.size());
}

/// The recorder and the checks can fail: with syncs that do nothing, answered commits are lost.
TEST_F(StorePowerCut, ADiskThatLiesIsNoticed) {
  const auto events = record();
  PowerCut cut{events.size(), Unsynced::Lost};
  cut.syncs_work = false;
  const auto files = filesAfter(events, cut, rng_);
  EXPECT_FALSE(files.contains("engine.db") && files.contains("engine.db-wal"));
  EXPECT_EQ(lastNote(events, cut), kCommits);
}

// ---- the agent's journal

class JournalPowerCut : public PowerCutTest {
 protected:
  static std::vector<hostagent::JournalChange> generation(std::uint64_t number) {
    using namespace hostagent;  // NOLINT: names of one seam.
    std::vector<JournalChange> changes;
    for (std::uint64_t row = 0; row < kRows; ++row) {
      ClaimRecord record;
      record.claim = {{{uuidOf(4, row)}, {uuidOf(1, row)}, {number}}, "h1", "boot-1", {9}, false};
      record.phase = ClaimPhase::Building;
      record.acked_commit = number;
      record.xml = "<domain>" + std::string(2000 + (number * 577 + row * 131) % 5000, 'b');
      changes.emplace_back(PutClaim{std::move(record)});
      changes.emplace_back(PutFloor{{{uuidOf(1, row)}, {number}}});
    }
    changes.emplace_back(PutMarks{
        {std::string(16, 's'), number, {uuidOf(5, number)}, number, "boot-1", "test:///x", "id"}});
    return changes;
  }

  std::vector<DiskEvent> record() {
    DiskRecorder recorder(folder_.path());
    std::uint64_t number = 0;
    for (int life = 0; life < 3; ++life) {
      auto journal = hostagent::SqliteJournal::open({folder_ / "journal.db", {}, {}});
      EXPECT_TRUE(journal) << journal.error().message;
      for (std::uint64_t i = 0; i < kCommits / 3; ++i) {
        ++number;
        EXPECT_TRUE(await((*journal)->commit(generation(number))));
        recorder.note(number);
      }
    }
    return recorder.events();
  }

  static void opensWhole(const TempFolder& after, std::uint64_t acknowledged) {
    auto journal = hostagent::SqliteJournal::open({after / "journal.db", {}, {}});
    ASSERT_TRUE(journal) << journal.error().message;
    const auto loaded = (*journal)->load();
    ASSERT_TRUE(loaded) << loaded.error().message;
    const std::uint64_t found = loaded->marks.commit;
    EXPECT_GE(found, acknowledged) << "an answered commit is lost: an epoch could be claimed twice";
    EXPECT_LE(found, acknowledged + 1);
    EXPECT_EQ(loaded->claims.size(), found == 0 ? 0U : kRows);
    EXPECT_EQ(loaded->floors.size(), found == 0 ? 0U : kRows);
    if (found == 0) return;
    for (const auto& change : generation(found)) {
      if (const auto* put = std::get_if<hostagent::PutClaim>(&change)) {
        EXPECT_NE(std::find(loaded->claims.begin(), loaded->claims.end(), put->record),
                  loaded->claims.end())
            << "half a transaction";
      }
    }
    for (const auto& floor : loaded->floors) EXPECT_EQ(floor.epoch.value, found);
    EXPECT_TRUE(await((*journal)->commit(generation(found + 1))));
  }
};

TEST_F(JournalPowerCut, EveryAnsweredClaimSurvivesWhole) {
  const auto events = record();
  const auto cuts = powerCuts(events, kCuts, rng_);
  const std::size_t done = forEachCut(events, cuts, opensWhole);
  EXPECT_EQ(done, kCuts);
  std::printf("%zu power cuts in %zu events\n", done, events.size());
}

// ---- what both stand on: the log is moved into the file again and again while commits go on

class LogPowerCut : public PowerCutTest {
 protected:
  static constexpr Migration kSchema[] = {
      {1, "rows",
       "CREATE TABLE rows (id INTEGER PRIMARY KEY, number INTEGER NOT NULL, text TEXT NOT NULL)"}};

  static SqliteSettings settings(const TempFolder& folder) {
    SqliteSettings settings;
    settings.path = folder / "test.db";
    settings.kind = "test database";
    settings.application_id = 0x54455354;
    settings.migrations = kSchema;
    return settings;
  }

  static Result<void> commit(SqliteDb& db, std::uint64_t number) {
    return db.transact([&] {
      for (std::uint64_t row = 0; row < kRows; ++row) {
        SQLite::Statement put(db.connection(), "INSERT OR REPLACE INTO rows VALUES (?, ?, ?)");
        put.bind(1, static_cast<std::int64_t>(row));
        put.bind(2, static_cast<std::int64_t>(number));
        put.bind(3, std::string(1000 + (number * 733) % 4000, 'c'));
        put.exec();
      }
    });
  }

  static void opensWhole(const TempFolder& after, std::uint64_t acknowledged) {
    auto db = SqliteDb::open(settings(after));
    ASSERT_TRUE(db) << db.error().message;
    SQLite::Statement read((*db)->connection(),
                           "SELECT count(*), coalesce(min(number), 0), coalesce(max(number), 0) "
                           "FROM rows");
    ASSERT_TRUE(read.executeStep());
    const auto found = static_cast<std::uint64_t>(read.getColumn(1).getInt64());
    EXPECT_EQ(read.getColumn(2).getInt64(), static_cast<std::int64_t>(found)) << "half of one";
    EXPECT_EQ(read.getColumn(0).getInt64(), found == 0 ? 0 : static_cast<std::int64_t>(kRows));
    EXPECT_GE(found, acknowledged) << "an answered commit is lost";
    EXPECT_LE(found, acknowledged + 1);
  }
};

TEST_F(LogPowerCut, ACommitSurvivesAmidCheckpoints) {
  std::vector<DiskEvent> events;
  {
    DiskRecorder recorder(folder_.path());
    auto db = SqliteDb::open(settings(folder_));
    ASSERT_TRUE(db) << db.error().message;
    for (std::uint64_t number = 1; number <= kCommits; ++number) {
      ASSERT_TRUE(commit(**db, number));
      recorder.note(number);
      if (number % 4 == 0) {
        ASSERT_TRUE((*db)->checkpoint());
      }
    }
    events = recorder.events();
  }
  const auto cuts = powerCuts(events, kCuts, rng_);
  const std::size_t done = forEachCut(events, cuts, opensWhole);
  EXPECT_EQ(done, kCuts);
  std::printf("%zu power cuts in %zu events\n", done, events.size());
}

}  // namespace
}  // namespace vms::test
