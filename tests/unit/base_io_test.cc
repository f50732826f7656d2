#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <string>

#include "schema/base/asio_clock.h"
#include "schema/base/files.h"
#include "schema/base/log.h"
#include "schema/base/task_group.h"
#include "schema/base/unique_fd.h"

namespace vms {
namespace {

class Files : public testing::Test {
 protected:
  Files() {
    std::string pattern = (std::filesystem::temp_directory_path() / "vms-files-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~Files() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
};

TEST_F(Files, AtomicWriteReplacesContentAndSetsTheMode) {
  const auto path = folder_ / "state";
  ASSERT_TRUE(writeFileAtomically(path, "old"));
  ASSERT_TRUE(writeFileAtomically(path, std::string(100'000, 'n'), 0640));
  EXPECT_EQ(*readFile(path, 1'000'000), std::string(100'000, 'n'));
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0640U);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(Files, AFailedWriteKeepsTheOldFile) {
  const auto path = folder_ / "state";
  ASSERT_TRUE(writeFileAtomically(path, "old"));
  std::filesystem::create_directory(folder_ / "state.new");  // where the draft would go
  const auto written = writeFileAtomically(path, "new");
  ASSERT_FALSE(written);
  EXPECT_NE(written.error().message.find("state.new"), std::string::npos);
  EXPECT_EQ(*readFile(path, 100), "old");
}

TEST_F(Files, ReadingHasALimitAndNamesTheFile) {
  const auto path = folder_ / "state";
  ASSERT_TRUE(writeFileAtomically(path, "12345"));
  EXPECT_TRUE(readFile(path, 5));
  EXPECT_EQ(readFile(path, 4).error().error_class, ErrorClass::TooLarge);
  const auto missing = readFile(folder_ / "missing", 4);
  EXPECT_EQ(missing.error().error_class, ErrorClass::NotFound);
  EXPECT_NE(missing.error().message.find("missing: No such file"), std::string::npos);
  EXPECT_FALSE(readFile(folder_, 4));
}

TEST(UniqueFds, CloseExactlyWhatTheyOwn) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  UniqueFd moved = std::move(writer);
  EXPECT_TRUE(moved);
  moved.reset();
  char byte = 0;
  EXPECT_EQ(::read(reader.get(), &byte, 1), 0);  // the only writer is closed
  const int raw = reader.release();
  EXPECT_FALSE(reader);
  EXPECT_EQ(::close(raw), 0);
}

TEST(AsioClocks, SleepEndsNotBeforeItsTime) {
  asio::io_context context;
  TaskGroup group(context.get_executor());
  AsioClock clock;
  const TimePoint start = clock.now();
  TimePoint woken;
  bool past_returned = false;
  group.spawn("sleeper", [&]() -> asio::awaitable<void> {
    co_await clock.sleepUntil(start - seconds(1));
    past_returned = true;
    co_await clock.sleepFor(milliseconds(5));
    woken = clock.now();
  });
  context.run();
  EXPECT_TRUE(past_returned);
  EXPECT_GE(woken - start, milliseconds(5));
  EXPECT_GT(clock.wallNow(), WallTime{1'600'000'000'000});
}

TEST(AsioClocks, SleepIsCancelled) {
  asio::io_context context;
  TaskGroup group(context.get_executor());
  AsioClock clock;
  group.spawn("sleeper", [&clock] { return clock.sleepFor(std::chrono::hours(1)); });
  context.poll();
  group.cancel();
  context.run();
  EXPECT_EQ(group.size(), 0U);
}

TEST(Logs, EscapeControlCharactersAndObeyTheLevel) {
  testing::internal::CaptureStderr();
  log::init("unit", log::Level::Info);
  log::debug("hidden {}", 1);
  log::info("name {}", "a\nforged line\x1b[31m");
  log::setLevel(log::Level::Debug);
  log::debug("shown");
  log::error("bad");
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(text.find("hidden"), std::string::npos);
  EXPECT_NE(text.find("Z unit info: name a\\x0aforged line\\x1b[31m\n"), std::string::npos) << text;
  EXPECT_NE(text.find("debug: shown"), std::string::npos);
  EXPECT_NE(text.find("error: bad"), std::string::npos);
  log::setLevel(log::Level::Info);
}

TEST(Logs, ParseLevels) {
  EXPECT_EQ(log::parseLevel("warn"), log::Level::Warn);
  EXPECT_EQ(log::parseLevel("WARN"), std::nullopt);
}

}  // namespace
}  // namespace vms
