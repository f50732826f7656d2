#include <sqlite3.h>

#include <cerrno>

#include "tests/integration/gathered_log_fixture.h"

namespace vms::test {
namespace {

using testing::HasSubstr;
using Kind = DiskEvent::Kind;

/// Refuses the log's write number `first` and, if so told, all after it.
struct Refusal {
  int first = 0;
  bool lasts = false;
  int code = SQLITE_FULL;
  int system_errno = ENOSPC;

  int writes = 0;
  int refused = 0;

  int operator()(const DiskEvent& event) {
    if (event.kind != Kind::Write || event.file != "test.db-wal") return SQLITE_OK;
    const int number = writes++;
    if (number != first && !(lasts && number > first)) return SQLITE_OK;
    ++refused;
    errno = system_errno;
    return code;
  }
};

/// With a cache of so many KiB.
class GatheredLogFull : public GatheredLogTest, public testing::WithParamInterface<int> {};

/// At each write of a commit in turn; each time somebody else may use the place, and then it fits.
TEST_P(GatheredLogFull, IsRolledBackWholeAndNothingOfItComesLater) {
  cache_kib_ = GetParam();
  DiskRecorder recorder(folder_.path(), Tearing::OnlyWritten);
  open();
  std::int64_t number = 1;
  ASSERT_TRUE(commit(60, number));
  int failures = 0;
  for (int first = 0;; ++first) {
    // Now and then the log begins anew, with a header and a sync of it.
    if (first % 3 == 0) {
      ASSERT_TRUE(db_->checkpoint());
    }
    Refusal refusal;
    refusal.first = first;
    refusal.lasts = first % 2 == 0;
    recorder.decideBy([&](const DiskEvent& event) { return refusal(event); });
    const auto done = commit(60, number + 1);
    recorder.decideBy({});
    if (refusal.refused == 0) {
      ASSERT_TRUE(done) << done.error().message;
      break;
    }
    if (done) {
      // Only the filling ahead was refused, of which nobody hears.
      ++number;
      continue;
    }
    ++failures;
    EXPECT_EQ(done.error().error_class, ErrorClass::StoreFull);
    EXPECT_THAT(done.error().message, HasSubstr("make room"));
    EXPECT_EQ(refusal.refused, 1) << "what was refused is not tried again";
    EXPECT_EQ(refusal.writes, first + 1) << "nothing is written after it";
    EXPECT_EQ(find(db_->connection()), (FoundRows{60, number, number}));
    EXPECT_EQ(findAnew(), (FoundRows{60, number, number}));
    if (first % 4 == 1) commitBy(*person(), 60, ++number);
    ASSERT_TRUE(commit(60, ++number));
    ASSERT_EQ(findAnew(), (FoundRows{60, number, number}));
  }
  EXPECT_GE(failures, 4);
  expectSound();
  open();
  EXPECT_EQ(find(db_->connection()), (FoundRows{60, number + 1, number + 1}));
}

INSTANTIATE_TEST_SUITE_P(LargeAndTinyCache, GatheredLogFull, testing::Values(16 * 1024, 32));

using GatheredLogErrors = GatheredLogTest;

TEST_F(GatheredLogErrors, AQuotaThatIsUsedUpIsAFullDiskToo) {
  DiskRecorder recorder(folder_.path(), Tearing::OnlyWritten);
  open();
  ASSERT_TRUE(commit(40, 1));
  Refusal refusal{1, true, SQLITE_IOERR_WRITE, EDQUOT};
  recorder.decideBy([&](const DiskEvent& event) { return refusal(event); });
  const auto done = commit(40, 2);
  recorder.decideBy({});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().error_class, ErrorClass::StoreFull);
  ASSERT_TRUE(commit(40, 3));
  EXPECT_EQ(findAnew(), (FoundRows{40, 3, 3}));
}

TEST_F(GatheredLogErrors, AnotherErrorEndsTheProcess) {
  const auto end = inChild([this]() -> int {
    DiskRecorder recorder(folder_.path(), Tearing::OnlyWritten);
    open();
    if (!commit(40, 1)) return 1;
    Refusal refusal{1, true, SQLITE_IOERR_WRITE, EIO};
    recorder.decideBy([&](const DiskEvent& event) { return refusal(event); });
    static_cast<void>(commit(40, 2));
    return 2;
  });
  EXPECT_TRUE(end.aborted()) << end.text;
  EXPECT_THAT(end.text, HasSubstr("look for errors of the disk"));
  open();
  EXPECT_EQ(find(db_->connection()), (FoundRows{40, 1, 1}));
}

}  // namespace
}  // namespace vms::test
