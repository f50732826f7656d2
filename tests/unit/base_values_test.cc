#include <gtest/gtest.h>

#include <set>
#include <string>
#include <unordered_set>

#include "schema/base/check.h"
#include "schema/base/error.h"
#include "schema/base/memory_size.h"
#include "schema/base/rng.h"
#include "schema/base/time.h"
#include "schema/base/utf8.h"
#include "schema/base/uuid.h"

namespace vms {
namespace {

TEST(Errors, NamesAreUniqueAndParseBack) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(ErrorClass::Internal); ++i) {
    const auto error_class = static_cast<ErrorClass>(i);
    EXPECT_TRUE(names.insert(nameOf(error_class)).second);
    EXPECT_EQ(parseErrorClass(nameOf(error_class)), error_class);
    EXPECT_GE(traitsOf(error_class).http_status, 400);
  }
  EXPECT_EQ(parseErrorClass("nonsense"), std::nullopt);
  EXPECT_EQ(parseErrorClass(""), std::nullopt);
}

TEST(Errors, AnUnknownOutcomeIsNeverRetriedBlindly) {
  EXPECT_EQ(traitsOf(ErrorClass::UnknownOutcome).retry, RetryRule::AskHost);
  EXPECT_EQ(traitsOf(ErrorClass::Foreign).retry, RetryRule::Hold);
  EXPECT_EQ(traitsOf(ErrorClass::KeyReused).http_status, 422);
  EXPECT_EQ(traitsOf(ErrorClass::StoreFull).http_status, 507);
}

TEST(Errors, ContextComesFirst) {
  EXPECT_EQ(withContext(Error(ErrorClass::Busy, "locked"), "vm a"),
            Error(ErrorClass::Busy, "vm a: locked"));
}

TEST(ErrorsDeathTest, ValueOfAnErrorAborts) {
  const Result<int> failed = Error(ErrorClass::Busy, "locked by a restore");
  EXPECT_DEATH((void)failed.value(), "busy: locked by a restore");
}

TEST(ErrorsDeathTest, AFailedCheckNamesItsReason) {
  EXPECT_DEATH(VMS_CHECK(1 + 1 == 3, "arithmetic is broken"), "1 . 1 == 3: arithmetic is broken");
}

TEST(WallTimes, FormatAndParseRoundTrip) {
  const WallTime time{1'795'162'500'123};
  EXPECT_EQ(formatRfc3339(time), "2026-11-20T08:15:00.123Z");
  EXPECT_EQ(parseRfc3339("2026-11-20T08:15:00.123Z"), time);
  EXPECT_EQ(parseRfc3339("2026-11-20T09:15:00.123999999+01:00"), time);
  EXPECT_EQ(parseRfc3339("2026-11-20t02:45:00.123-05:30"), time);
  EXPECT_EQ(parseRfc3339("2026-11-20 08:15:00Z"), WallTime{1'795'162'500'000});
  EXPECT_EQ(formatRfc3339(WallTime{0}), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(formatRfc3339(WallTime{-1}), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(parseRfc3339("2024-02-29T00:00:00Z"), WallTime{1'709'164'800'000});
}

TEST(WallTimes, RefusesWhatIsNotRfc3339) {
  for (const char* text :
       {"", "2026", "2026-11-20", "2026-11-20T08:15:00", "2026-11-20T08:15Z",
        "2026-13-01T00:00:00Z", "2023-02-29T00:00:00Z", "2026-11-20T24:00:00Z",
        "2026-11-20T08:60:00Z", "2026-11-20T08:15:00.Z", "2026-11-20T08:15:00.1234567890Z",
        "2026-11-20T08:15:00Z ", "2026-11-20T08:15:00+0100", "2026-11-20T08:15:00+24:00",
        "-026-11-20T08:15:00Z", "2026-1-20T08:15:00Z"}) {
    EXPECT_EQ(parseRfc3339(text), std::nullopt) << text;
  }
}

TEST(Durations, ParseAndFormat) {
  EXPECT_EQ(parseDuration("250ms"), milliseconds(250));
  EXPECT_EQ(parseDuration("30s"), seconds(30));
  EXPECT_EQ(parseDuration("5m"), seconds(300));
  EXPECT_EQ(parseDuration("2h"), seconds(7200));
  EXPECT_EQ(parseDuration("7d"), seconds(604800));
  EXPECT_EQ(parseDuration("0s"), seconds(0));
  EXPECT_EQ(formatDuration(milliseconds(250)), "250ms");
  EXPECT_EQ(formatDuration(milliseconds(1500)), "1500ms");
  EXPECT_EQ(formatDuration(seconds(90)), "90s");
  EXPECT_EQ(formatDuration(seconds(300)), "5m");
  EXPECT_EQ(formatDuration(seconds(86400)), "1d");
  EXPECT_EQ(formatDuration(seconds(0)), "0s");
}

TEST(Durations, RefusesEverythingElse) {
  for (const char* text : {"", "5", "s", "-5s", "+5s", "5 s", " 5s", "5s ", "1.5s", "5S", "5sec",
                           "1m30s", "0x5s", "99999999999999999999s", "9223372036854775807d"}) {
    EXPECT_EQ(parseDuration(text), std::nullopt) << text;
  }
}

TEST(MemorySizes, AreRoundedForPeople) {
  EXPECT_EQ(roundMemorySize(0), "0B");
  EXPECT_EQ(roundMemorySize(1023), "1023B");
  EXPECT_EQ(roundMemorySize(512 * kMiB), "512MiB");
  EXPECT_EQ(roundMemorySize(9'118'505'369), "8.4GiB");
}

TEST(MemorySizes, ParseAndFormat) {
  EXPECT_EQ(parseMemorySize("4096B"), 4096U);
  EXPECT_EQ(parseMemorySize("64KiB"), 64 * kKiB);
  EXPECT_EQ(parseMemorySize("512MiB"), 512 * kMiB);
  EXPECT_EQ(parseMemorySize("1TiB"), kTiB);
  EXPECT_EQ(formatMemorySize(4 * kGiB), "4GiB");
  EXPECT_EQ(formatMemorySize(1536 * kMiB), "1536MiB");
  EXPECT_EQ(formatMemorySize(1025), "1025B");
  EXPECT_EQ(formatMemorySize(0), "0B");
  for (const char* text : {"", "5", "MiB", "-1B", "1.5GiB", "5GB", "5 MiB", "5mib", "8388608TiB"}) {
    EXPECT_EQ(parseMemorySize(text), std::nullopt) << text;
  }
}

TEST(Rngs, TheSameSeedGivesTheSameDraws) {
  Rng rng(42);
  EXPECT_EQ(rng.next(), 13679457532755275413U);
  Rng a(7);
  Rng b(7);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(a.below(1000), b.below(1000));
}

TEST(Rngs, StaysWithinItsBounds) {
  Rng rng(1);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    seen.insert(rng.between(std::uint64_t{3}, std::uint64_t{5}));
    EXPECT_EQ(rng.below(1), 0U);
    const double real = rng.real();
    EXPECT_TRUE(real >= 0 && real < 1);
    const Duration duration = rng.between(milliseconds(-5), milliseconds(5));
    EXPECT_TRUE(duration >= milliseconds(-5) && duration <= milliseconds(5));
    EXPECT_FALSE(rng.chance(0));
    EXPECT_TRUE(rng.chance(1));
  }
  EXPECT_EQ(seen, (std::set<std::uint64_t>{3, 4, 5}));
  (void)rng.between(std::uint64_t{0}, ~std::uint64_t{0});
}

TEST(Rngs, AForkGoesItsOwnWay) {
  Rng rng(1);
  Rng fork = rng.fork();
  EXPECT_NE(rng.next(), fork.next());
}

TEST(Uuids, ParseAndFormat) {
  const char* const text = "01890a5d-ac96-774b-bcce-b302099a8057";
  const auto uuid = Uuid::parse(text);
  ASSERT_TRUE(uuid);
  EXPECT_EQ(uuid->str(), text);
  EXPECT_EQ(Uuid::parse("01890A5D-AC96-774B-BCCE-B302099A8057"), uuid);
  EXPECT_EQ(Uuid::fromBytes(uuid->toBytes()), uuid);
  EXPECT_TRUE(Uuid().isNil());
  EXPECT_EQ(Uuid().str(), "00000000-0000-0000-0000-000000000000");
}

TEST(Uuids, RefusesEveryOtherForm) {
  for (const char* text :
       {"", "01890a5dac96774bbcceb302099a8057", "{01890a5d-ac96-774b-bcce-b302099a8057}",
        "01890a5d-ac96-774b-bcce-b302099a805", "01890a5d-ac96-774b-bcce-b302099a80577",
        "01890a5d-ac96-774b-bcceb-302099a8057", "g1890a5d-ac96-774b-bcce-b302099a8057",
        "01890a5d-ac96-774b-bcce-b302099a805 ", "01890a5d-ac96-774b-bcce--302099a8057"}) {
    EXPECT_EQ(Uuid::parse(text), std::nullopt) << text;
  }
  EXPECT_EQ(Uuid::fromBytes(std::string(15, 'x')), std::nullopt);
  EXPECT_EQ(Uuid::fromBytes(std::string(17, 'x')), std::nullopt);
}

TEST(Uuids, Version7SortsByTimeAndIsUnique) {
  Rng rng(9);
  const WallTime now{1'795'162'500'123};
  const Uuid older = makeUuidV7(now, rng);
  const Uuid newer = makeUuidV7(now + milliseconds(1), rng);
  EXPECT_LT(older, newer);
  EXPECT_EQ(older.str()[14], '7');
  EXPECT_NE(std::string("89ab").find(older.str()[19]), std::string::npos);
  EXPECT_EQ(older.str().substr(0, 13), "01a1f805-ec1b");
  std::unordered_set<Uuid> seen;
  for (int i = 0; i < 10'000; ++i) EXPECT_TRUE(seen.insert(makeUuidV7(now, rng)).second);
}

TEST(Utf8, KnowsWellFormedText) {
  EXPECT_TRUE(isUtf8(""));
  EXPECT_TRUE(isUtf8("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z"));
  for (const char* const bad : {"\xff", "a\x80", "\xc3", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80",
                                "\xf0\x9f\x98", "\xf4\x90\x80\x80", "\xe2\x82z"}) {
    EXPECT_FALSE(isUtf8(bad));
    EXPECT_TRUE(isUtf8(asUtf8(bad))) << asUtf8(bad);
  }
  EXPECT_EQ(asUtf8("\xc3\xa4 \xe2\x82z\x1b[1m\n"), "\xc3\xa4 ??z?[1m?");
}

TEST(Utf8, IsCutBetweenCharacters) {
  const std::string text = "a\xe2\x82\xac!";
  EXPECT_EQ(cutUtf8(text, 0), "");
  EXPECT_EQ(cutUtf8(text, 1), "a");
  EXPECT_EQ(cutUtf8(text, 3), "a");
  EXPECT_EQ(cutUtf8(text, 4), "a\xe2\x82\xac");
  EXPECT_EQ(cutUtf8(text, 5), text);
}

}  // namespace
}  // namespace vms
