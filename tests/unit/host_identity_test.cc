#include "runner/host_identity.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace vms::runner {
namespace {

class HostIdentity : public testing::Test {
 protected:
  HostIdentity() {
    host_.record.hardware_uuid = "hardware";
    host_.record.boot_id = "old";
    host_.silence_is_exact = true;
    host_.last_word = now_.mono - seconds(300);
    hello_.set_hardware_uuid("hardware");
    hello_.set_boot_id("new");
  }
  Result<BootVerdict> judgeUptime(std::uint64_t ms) {
    hello_.set_uptime_ms(ms);
    return judgeBoot(host_, hello_, EngineOptions{}, now_);
  }

  Now now_{TimePoint{} + std::chrono::hours(1), WallTime{1'800'000'000'000}};
  Host host_;
  proto::Hello hello_;
};

TEST_F(HostIdentity, ABootAfterTheLastWordIsAReboot) {
  const auto verdict = judgeUptime(60'000);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(*verdict, BootVerdict::Rebooted);
}

TEST_F(HostIdentity, NoUptimeIsSoLongThatItPassesForAShortOne) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  // The middle two wrap around in nanoseconds, to nothing and to something negative.
  for (const std::uint64_t ms : {std::uint64_t{600'000}, std::uint64_t{1} << 58U,
                                 std::uint64_t{10'000'000'000'000}, kMost}) {
    EXPECT_FALSE(judgeUptime(ms)) << ms;
  }
}

}  // namespace
}  // namespace vms::runner
