#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "schema/base/files.h"
#include "schema/base/memory_size.h"
#include "schema/base/toml_config.h"

namespace vms {
namespace {

using std::chrono::minutes;

TomlConfig parsed(std::string_view text) {
  auto config = TomlConfig::parse(text, "x.toml");
  EXPECT_TRUE(config) << config.error().message;
  return std::move(*config);
}

std::string finishOf(TomlConfig& config) {
  const auto result = config.finish();
  return result ? "fine" : result.error().message;
}

TEST(TomlConfig, ReadsEveryType) {
  auto config = parsed(R"(
[engine]
width = 7
share = 0.25
whole = 1
drain = true
lease = "90s"
memory = "4GiB"
name = "east"
mode = "fixed"
state = "/var/lib/x"
relative = "tls/ca.pem"
hosts = ["a", "b"]
)");
  EXPECT_EQ(config.readInt("engine.width", 1, 1, 64, "t"), 7);
  EXPECT_EQ(config.readNumber("engine.share", 0.5, 0, 1, "t"), 0.25);
  EXPECT_EQ(config.readNumber("engine.whole", 0.5, 0, 1, "t"), 1.0);
  EXPECT_TRUE(config.readBool("engine.drain", false, "t"));
  EXPECT_EQ(config.readDuration("engine.lease", seconds(30), seconds(1), minutes(5), "t"),
            seconds(90));
  EXPECT_EQ(config.readSize("engine.memory", kMiB, kMiB, kTiB, "t"), 4 * kGiB);
  EXPECT_EQ(config.readString("engine.name", "", "t"), "east");
  EXPECT_EQ(config.readChoice("engine.mode", "off", {"off", "fixed"}, "t"), "fixed");
  EXPECT_EQ(config.readPath("engine.state", "", "t"), "/var/lib/x");
  EXPECT_EQ(config.readPath("engine.relative", "", "t"), "tls/ca.pem");
  EXPECT_EQ(config.readStrings("engine.hosts", {}, 4, "t"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(finishOf(config), "fine");
}

TEST(TomlConfig, UsesDefaultsForAbsentKeys) {
  auto config = parsed("");
  EXPECT_EQ(config.readInt("a.b", 3, 1, 9, "t"), 3);
  EXPECT_EQ(config.readDuration("a.c", seconds(2), seconds(1), seconds(9), "t"), seconds(2));
  EXPECT_EQ(config.readString("d", "x", "t"), "x");
  EXPECT_EQ(config.readPath("e", "", "t"), "");
  EXPECT_FALSE(config.has("a.b"));
  EXPECT_EQ(finishOf(config), "fine");
}

TEST(TomlConfig, RefusesUnknownKeysWithLineAndSuggestion) {
  auto config = parsed("[lease]\ndurration = \"10s\"\n");
  config.readDuration("lease.duration", seconds(30), seconds(1), minutes(5), "t");
  EXPECT_EQ(finishOf(config),
            "x.toml:2: key 'lease.durration': unknown key; did you mean 'lease.duration'?");
}

TEST(TomlConfig, RefusesUnknownSectionsAndEmptyOnes) {
  auto config = parsed("[known]\na = 1\n[other]\nb = 2\n[void]\n");
  config.readInt("known.a", 0, 0, 9, "t");
  EXPECT_NE(finishOf(config).find("x.toml:4: key 'other.b': unknown key"), std::string::npos);
  ASSERT_EQ(config.errors().size(), 2U);
  EXPECT_NE(config.errors()[1].find("key 'void'"), std::string::npos);
}

TEST(TomlConfig, RefusesValuesOutOfRange) {
  auto config = parsed("a = 65\nb = \"6m\"\nc = \"1B\"\nd = \"maybe\"\ne = -0.1\n");
  EXPECT_EQ(config.readInt("a", 4, 1, 64, "t"), 4);
  EXPECT_EQ(config.readDuration("b", seconds(1), seconds(1), minutes(5), "t"), seconds(1));
  EXPECT_EQ(config.readSize("c", kGiB, kMiB, kTiB, "t"), kGiB);
  EXPECT_EQ(config.readChoice("d", "no", {"yes", "no"}, "t"), "no");
  EXPECT_EQ(config.readNumber("e", 0.5, 0, 1, "t"), 0.5);
  EXPECT_EQ(finishOf(config),
            "x.toml:1: key 'a': integer 65 is not allowed; write an integer from 1 to 64 "
            "(and 4 more)");
  EXPECT_EQ(config.errors()[1],
            "x.toml:2: key 'b': string '6m' is not allowed; write a duration such as \"250ms\", "
            "\"30s\" or \"5m\", from 1s to 5m");
  EXPECT_EQ(config.errors()[3], "x.toml:4: key 'd': 'maybe' is not allowed; write one of yes, no");
}

TEST(TomlConfig, RefusesWrongTypes) {
  auto config = parsed(
      "a = \"5\"\nb = 10\nc = 1\nd = [1]\ne = \"x\"\nf = 2026-11-20\n[g]\nh = 1\n[[i]]\nj=1\n");
  config.readInt("a", 1, 1, 9, "t");
  config.readDuration("b", seconds(1), seconds(1), seconds(9), "t");
  config.readBool("c", false, "t");
  config.readStrings("d", {}, 3, "t");
  config.readStrings("e", {}, 3, "t");
  config.readString("f", "", "t");
  config.readString("g", "", "t");
  config.readInt("i", 1, 1, 9, "t");
  (void)config.finish();
  EXPECT_EQ(config.errors().size(), 8U);
}

TEST(TomlConfig, AKeyBelowAScalarIsAbsent) {
  auto config = parsed("a = 1\n");
  EXPECT_EQ(config.readInt("a.b", 5, 1, 9, "t"), 5);
  EXPECT_NE(finishOf(config), "fine");
}

TEST(TomlConfig, ReportsMissingAndEmptyRequiredKeys) {
  auto config = parsed("\nempty = \"\"\n");
  config.requireString("name", "the host's id");
  config.requirePath("empty", "the key file");
  (void)config.finish();
  ASSERT_EQ(config.errors().size(), 2U);
  EXPECT_NE(config.errors()[0].find("key 'name': required and missing; set it: the host's id"),
            std::string::npos);
  EXPECT_NE(config.errors()[1].find("x.toml:2: key 'empty': required and empty"),
            std::string::npos);
}

TEST(TomlConfig, BoundsListsAndStrings) {
  auto config = parsed("a = [\"1\",\"2\",\"3\"]\nb = \"" + std::string(5000, 'x') + "\"\n");
  EXPECT_TRUE(config.readStrings("a", {}, 2, "t").empty());
  EXPECT_EQ(config.readString("b", "d", "t"), "d");
  (void)config.finish();
  EXPECT_EQ(config.errors().size(), 2U);
}

TEST(TomlConfig, ReadsListsOfTables) {
  auto config = parsed("[[device]]\nname = \"a\"\n[[device]]\nname = \"b\"\ntypo = 1\n");
  auto devices = config.readTables("device", 8, "t");
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_EQ(devices[0].requireString("name", "t"), "a");
  EXPECT_EQ(devices[1].requireString("name", "t"), "b");
  EXPECT_EQ(finishOf(config),
            "x.toml:5: key 'device[1].typo': unknown key; did you mean "
            "'device[].name'?");
}

TEST(TomlConfig, NamesPlaceOfSyntaxErrors) {
  for (const char* text : {"a = ", "a = 1\na = 2", "[a]\n[a]", "a = \"\xff\"", "a = 1e", "= 3",
                           "a = 99999999999999999999", "[a", "a.b = 1\na = 2"}) {
    const auto config = TomlConfig::parse(text, "x.toml");
    ASSERT_FALSE(config) << text;
    EXPECT_EQ(config.error().error_class, ErrorClass::Invalid);
    EXPECT_EQ(config.error().message.rfind("x.toml:", 0), 0U) << config.error().message;
  }
  EXPECT_FALSE(TomlConfig::parse("a = " + std::string(10000, '['), "x.toml"));
}

TEST(TomlConfig, NamesAMissingFile) {
  const auto config = TomlConfig::load("/nonexistent/x.toml");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().error_class, ErrorClass::NotFound);
  EXPECT_NE(config.error().message.find("/nonexistent/x.toml"), std::string::npos);
}

TEST(TomlConfig, RelativePathsStartAtTheFilesFolder) {
  std::string pattern = (std::filesystem::temp_directory_path() / "vms-toml-XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  const std::filesystem::path folder = pattern;
  ASSERT_TRUE(writeFileAtomically(folder / "x.toml", "ca = \"tls/../ca.pem\"\n"));
  auto config = TomlConfig::load(folder / "x.toml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->readPath("ca", "", "t"), folder / "ca.pem");
  EXPECT_EQ(config->readPath("key", "key.pem", "t"), folder / "key.pem");
  std::filesystem::remove_all(folder);
}

TEST(TomlConfig, ChecksAcrossKeysNameTheLine) {
  auto config = parsed("min = 5\nmax = 4\n");
  const auto min = config.readInt("min", 1, 1, 9, "t");
  const auto max = config.readInt("max", 9, 1, 9, "t");
  if (min > max) config.fail("max", "is less than 'min'; write at least 5");
  EXPECT_EQ(finishOf(config), "x.toml:2: key 'max': is less than 'min'; write at least 5");
}

TEST(TomlConfig, DocumentsWhatItReads) {
  auto config = TomlConfig::forDocumentation();
  config.readDuration("lease.duration", seconds(30), seconds(1), minutes(5), "How long.");
  config.requireString("host", "The host's id.");
  auto devices = config.readTables("device", 8, "Fence devices.");
  ASSERT_EQ(devices.size(), 1U);
  devices[0].requirePath("program", "What to run.");
  config.reloadsValue("lease.duration");
  devices[0].reloadsContent("program");
  EXPECT_EQ(finishOf(config), "fine");
  EXPECT_EQ(toMarkdown(config.keys()),
            "| key | type | default | allowed | SIGHUP | meaning |\n|---|---|---|---|---|---|\n"
            "| `lease.duration` | duration | `\"30s\"` | 1s to 5m | value | How long. |\n"
            "| `host` | string |  | required |  | The host's id. |\n"
            "| `device` | list of tables | `[]` | at most 8 tables |  | Fence devices. |\n"
            "| `device[].program` | path |  | required | content | What to run. |\n");
}

TEST(TomlConfig, TellsWhatAReloadDoesNotTakeOver) {
  const auto keysOf = [](std::string_view text) {
    auto config = parsed(text);
    config.readInt("a.width", 4, 1, 64, "t");
    config.readString("a.name", "x", "t");
    config.readString("a.level", "info", "t");
    config.reloadsValue("a.level");
    return config.keys();
  };
  const auto before = keysOf("[a]\nwidth = 4\n");
  EXPECT_EQ(restartNote(before, keysOf("")), "") << "the default is the same value";
  EXPECT_EQ(restartNote(before, keysOf("[a]\nlevel = \"debug\"\n")), "");
  EXPECT_EQ(restartNote(before, keysOf("[a]\nwidth = 5\n")),
            "; a.width changed and needs a restart");
  EXPECT_EQ(restartNote(before, keysOf("[a]\nwidth = 5\nname = \"y\"\n")),
            "; a.width, a.name changed and need a restart");
}

}  // namespace
}  // namespace vms
