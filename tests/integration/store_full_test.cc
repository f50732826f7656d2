#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <vector>

#include "tests/integration/store_fixture.h"

namespace vms::test {
namespace {

using testing::HasSubstr;

class StoreFull : public StoreTest {
 protected:
  /// About `kib` KiB of rows that are there only if their transaction was durable.
  static std::vector<runner::Change> bulk(std::uint64_t first, std::size_t kib) {
    std::vector<runner::Change> changes;
    for (std::size_t i = 0; i < kib / 10 + 1; ++i) changes.emplace_back(fullVm(first + i));
    return changes;
  }
  /// Looks for room as an API would that refuses work: the look runs behind the question.
  bool roomAfterALook() {
    static_cast<void>(store_->hasRoom());
    EXPECT_TRUE(await(store_->prune(WallTime{0})));
    return store_->hasRoom();
  }
};

TEST_F(StoreFull, IsRolledBackWholeAndTheNextOneMayFit) {
  open();
  close();
  const auto pages = std::filesystem::file_size(options_.path) / 4096;
  options_.max_pages = static_cast<std::uint32_t>(pages + 40);
  open();
  auto attempt = placedAttempt(1);
  ASSERT_TRUE(commit(attempt));
  const auto before = commit(fullHost("before"));
  ASSERT_TRUE(before);

  attempt.state = AttemptState::Sent;
  auto changes = bulk(1, 1000);
  changes.emplace(changes.begin(), attempt);
  const auto full = await(store_->commit(changes));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().error_class, ErrorClass::StoreFull);
  EXPECT_THAT(full.error().message, HasSubstr(options_.path.string()));

  // The number was not used up, and the attempt is still what it was.
  const auto after = commit(attempt);
  ASSERT_TRUE(after) << after.error().message;
  EXPECT_EQ(after->value, before->value + 1);
  options_.max_pages.reset();
  reopen();
  const auto snapshot = load();
  EXPECT_TRUE(snapshot.vms.empty());
  EXPECT_EQ(snapshot.attempts, std::vector{attempt});
}

/// On a real full file system, in a mount namespace of its own. 77: not possible here.
TEST_F(StoreFull, TheReserveCarriesResultsWhenTheDiskIsFull) {
  const auto end = inChild([this]() -> int {
    const std::string disk = folder_.path().string();
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", disk.c_str(), "tmpfs", 0, "size=8m") != 0) {
      return 77;
    }
    const auto check = [](bool good, const std::string& what) {
      if (good) return;
      const std::string line = "not so: " + what + "\n";
      static_cast<void>(!::write(STDERR_FILENO, line.data(), line.size()));
      ::_exit(1);
    };
    options_.reserve_bytes = std::uint64_t{1} << 20U;
    auto opened = tryOpen();
    check(opened.has_value(), "opens");
    store_ = std::move(*opened);
    check(store_->hasRoom(), "there is room at first");

    const auto filler = folder_ / "filler";
    const int fd = ::open(filler.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const std::vector<char> block(4096, 'f');
    while (::write(fd, block.data(), block.size()) > 0) {
    }
    ::close(fd);

    check(await(store_->commit(bulk(1, 300))).has_value(), "a result fits in the reserve");
    check(!store_->hasRoom(), "new work is refused");
    check(!std::filesystem::exists(folder_ / "reserve.bin"), "the reserve was given up");
    check(!roomAfterALook(), "the reserve cannot be made again yet");
    const auto too_much = await(store_->commit(bulk(1000, 4000)));
    check(!too_much && too_much.error().error_class == ErrorClass::StoreFull, "it is full");

    std::filesystem::remove(filler);
    check(roomAfterALook(), "room is found again without commits");
    check(std::filesystem::exists(folder_ / "reserve.bin"), "the reserve is back");
    check(await(store_->commit(bulk(2000, 300))).has_value(), "commits go on");
    reopen();
    for (const auto& vm : load().vms) {
      const std::uint64_t number = std::stoull(vm.spec.name.substr(3));
      check(number < 1000 || number >= 2000, "what was refused is not there");
    }
    check(load().vms.size() == 2 * bulk(0, 300).size(), "what was accepted is there");
    close();
    return 0;
  });
  if (end.exitedWith(77)) GTEST_SKIP() << "needs the right to mount a tmpfs";
  EXPECT_TRUE(end.exitedWith(0)) << end.text;
}

TEST_F(StoreFull, WithoutAReserveThereIsAlwaysRoom) {
  options_.reserve_bytes = 0;
  open();
  EXPECT_TRUE(store_->hasRoom());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "reserve.bin"));
}

TEST_F(StoreFull, AReserveThatCannotBeMadeMeansNoRoom) {
  options_.reserve_bytes = std::uint64_t{1} << 60U;
  open();
  EXPECT_FALSE(store_->hasRoom());
  EXPECT_FALSE(roomAfterALook());
  EXPECT_TRUE(commit(fullHost("results are still written")));
}

}  // namespace
}  // namespace vms::test
