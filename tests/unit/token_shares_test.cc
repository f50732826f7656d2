#include "runner/api/token_shares.h"

#include <gtest/gtest.h>

#include <limits>
#include <utility>

namespace vms::runner::api {
namespace {

TEST(TokenShares, EachTokenHasALimitOfItsOwn) {
  TokenShares shares(3);
  const auto two = shares.take("a", 2);
  EXPECT_TRUE(two);
  EXPECT_FALSE(shares.take("a", 2));
  const auto one = shares.take("a", 1);
  EXPECT_TRUE(one);
  EXPECT_FALSE(shares.take("a", 1));
  EXPECT_TRUE(shares.take("b", 3));
}

TEST(TokenShares, AShareIsGivenBackOnce) {
  TokenShares shares(2);
  {
    auto first = shares.take("a", 2);
    ASSERT_TRUE(first);
    const TokenShares::Share moved = std::move(*first);
    first.reset();
    EXPECT_FALSE(shares.take("a", 1));
  }
  EXPECT_TRUE(shares.take("a", 2));
}

TEST(TokenShares, NothingIsGivenBackAsOftenAsItWasTaken) {
  TokenShares shares(2);
  auto first = shares.take("a", 0);
  auto second = shares.take("a", 0);
  ASSERT_TRUE(first && second);
  first.reset();
  second.reset();
  const auto two = shares.take("a", 2);
  EXPECT_TRUE(two);
  EXPECT_FALSE(shares.take("a", 1));
}

TEST(TokenShares, HugeAmountsDoNotWrap) {
  TokenShares shares(2);
  const auto one = shares.take("a", 1);
  EXPECT_FALSE(shares.take("a", std::numeric_limits<std::size_t>::max()));
  EXPECT_FALSE(shares.take("b", 3));
  const auto nothing = shares.take("a", 0);
  EXPECT_TRUE(nothing);
}

}  // namespace
}  // namespace vms::runner::api
