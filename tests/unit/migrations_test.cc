#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "schema/base/sqlite_db.h"
#include "schema/base/sqlite_header.h"
#include "schema/base/sqlite_rows.h"
#include "schema/sql/agent_migrations.h"
#include "schema/sql/engine_migrations.h"

namespace vms {
namespace {

using testing::HasSubstr;

constexpr Migration kOne{1, "0001_one", "CREATE TABLE one (a INTEGER) STRICT;"};
constexpr Migration kTwo{2, "0002_two",
                         "INSERT INTO one VALUES (7); ALTER TABLE one ADD COLUMN b INTEGER;"};
constexpr Migration kBroken{3, "0003_broken",
                            "INSERT INTO one VALUES (8, 8); CREATE TABLE one (c INTEGER);"};

class Migrations : public testing::Test {
 protected:
  Migrations() {
    std::string name = testing::TempDir() + "vms-migrations-XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  ~Migrations() override { std::filesystem::remove_all(folder_); }

  Result<std::unique_ptr<SqliteDb>> open(std::span<const Migration> migrations) {
    SqliteSettings settings;
    settings.path = folder_ / "some.db";
    settings.kind = "test database";
    settings.application_id = 42;
    settings.migrations = migrations;
    return SqliteDb::open(settings);
  }
  SqliteHeader header() {
    const auto read = readSqliteHeader(folder_ / "some.db");
    EXPECT_TRUE(read && *read);
    return read && *read ? **read : SqliteHeader();
  }
  std::string bytes() {
    std::ifstream file(folder_ / "some.db", std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  static std::int64_t ask(SqliteDb& db, const std::string& sql) {
    SQLite::Statement statement(db.connection(), sql);
    return statement.executeStep() ? statement.getColumn(0).getInt64() : -1;
  }

  std::filesystem::path folder_;
};

TEST_F(Migrations, ANewFileGetsAllOfThem) {
  const std::vector both{kOne, kTwo};
  const auto db = open(both);
  ASSERT_TRUE(db) << db.error().message;
  EXPECT_TRUE((*db)->created());
  EXPECT_EQ(header().schema_version, 2U);
  EXPECT_EQ(header().application_id, 42U);
  EXPECT_EQ(ask(**db, "SELECT count(*) FROM one WHERE a = 7 AND b IS NULL"), 1);
}

TEST_F(Migrations, AnOlderFileGetsWhatItLacksOnce) {
  const std::vector one{kOne};
  const std::vector both{kOne, kTwo};
  ASSERT_TRUE(open(one));
  EXPECT_EQ(header().schema_version, 1U);
  for (int i = 0; i < 2; ++i) {
    const auto db = open(both);
    ASSERT_TRUE(db) << db.error().message;
    EXPECT_FALSE((*db)->created());
    EXPECT_EQ(ask(**db, "SELECT count(*) FROM one"), 1);
  }
  EXPECT_EQ(header().schema_version, 2U);
  // The older release refuses it now, and says why.
  const std::string before = bytes();
  const auto refused = open(one);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("schema version 2"));
  EXPECT_THAT(refused.error().message, HasSubstr("up to 1"));
  EXPECT_TRUE(bytes() == before);
}

TEST_F(Migrations, AFailingOneChangesNothing) {
  const std::vector one{kOne};
  const std::vector all{kOne, kTwo, kBroken};
  ASSERT_TRUE(open(one));
  const auto failed = open(all);
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("some.db"));
  EXPECT_EQ(header().schema_version, 1U);
  const auto db = open(one);
  ASSERT_TRUE(db) << db.error().message;
  EXPECT_EQ(ask(**db, "SELECT count(*) FROM one"), 0);
}

TEST_F(Migrations, AFailingOneLeavesNoNewFile) {
  const std::vector all{kOne, kTwo, kBroken};
  ASSERT_FALSE(open(all));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "some.db"));
}

TEST_F(Migrations, FullSyncAndWriteAheadLogAreOn) {
  const std::vector one{kOne};
  const auto db = open(one);
  ASSERT_TRUE(db);
  EXPECT_EQ(ask(**db, "PRAGMA synchronous"), 2);
  EXPECT_EQ(ask(**db, "PRAGMA foreign_keys"), 1);
  SQLite::Statement mode((*db)->connection(), "PRAGMA journal_mode");
  ASSERT_TRUE(mode.executeStep());
  EXPECT_EQ(mode.getColumn(0).getString(), "wal");
}

TEST(EmbeddedMigrations, AreNumberedFromOneAndNamedAsTheirFiles) {
  for (const auto migrations : {engineMigrations(), agentMigrations()}) {
    ASSERT_FALSE(migrations.empty());
    for (std::size_t i = 0; i < migrations.size(); ++i) {
      EXPECT_EQ(migrations[i].version, static_cast<int>(i) + 1);
      EXPECT_EQ(std::stoi(std::string(migrations[i].name.substr(0, 4))), migrations[i].version);
      EXPECT_FALSE(migrations[i].sql.empty());
    }
  }
}

}  // namespace
}  // namespace vms
