#include "schema/base/net_address.h"

#include <gtest/gtest.h>

namespace vms {
namespace {

TEST(NetAddress, ParsesNamesAndAddressesAndPrintsThemBack) {
  for (const char* text : {"engine.example:7443", "127.0.0.1:0", "[::1]:65535", "h_1:1"}) {
    const auto address = parseNetAddress(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(formatNetAddress(*address), text);
  }
  EXPECT_EQ(parseNetAddress("[::1]:7443")->host, "::1");
  EXPECT_EQ(parseNetAddress("[::1]:7443")->port, 7443);
}

TEST(NetAddress, RefusesEverythingElse) {
  for (const char* text :
       {"", "engine", ":7443", "engine:", "engine:65536", "engine:-1", "engine:7443x", "engine: 1",
        "::1:7443", "[engine]:7443", "[::1]7443", "[]:1", "a b:1", "user@engine:1", "a/b:1"}) {
    const auto address = parseNetAddress(text);
    ASSERT_FALSE(address) << text;
    EXPECT_EQ(address.error().error_class, ErrorClass::Invalid);
    EXPECT_NE(address.error().message.find("HOST:PORT"), std::string::npos);
  }
}

}  // namespace
}  // namespace vms
