#include <gtest/gtest.h>

#include "runner/api/fields.h"
#include "runner/api/http_wire.h"

namespace vms::runner::api {
namespace {

HttpRequest targetOf(const std::string& target) {
  HttpRequest request;
  request.target = target;
  return request;
}

TEST(Target, IsSplitBeforeItIsDecoded) {
  HttpRequest request = targetOf("/v1/vms/a%2Fb?x=1%262&x=%3D&flag");
  ASSERT_TRUE(parseTarget(request));
  EXPECT_EQ(request.segments, (std::vector<std::string>{"v1", "vms", "a/b"}));
  EXPECT_EQ(request.query.count("x"), 2u);
  EXPECT_EQ(request.query.find("x")->second, "1&2");
  EXPECT_EQ(request.query.find("flag")->second, "");
}

TEST(Target, TakesTheAbsoluteForm) {
  HttpRequest request = targetOf("https://host:1/healthz?a=b");
  ASSERT_TRUE(parseTarget(request));
  EXPECT_EQ(request.segments.at(0), "healthz");
  request = targetOf("https://host");
  EXPECT_TRUE(parseTarget(request));
}

TEST(Target, RefusesWhatCannotBeMeant) {
  for (const char* target : {"", "v1", "?x", "/%", "/%1", "/%zz", "/%00", "/%0a", "/x?a=%0d%0a",
                             "/%ff", "/%c3", "/%ed%a0%80", "/%c0%af"}) {
    HttpRequest request = targetOf(target);
    EXPECT_FALSE(parseTarget(request)) << target;
  }
  HttpRequest request = targetOf("/%C3%A4%F0%9F%90%A7%E2%82%AC");
  EXPECT_TRUE(parseTarget(request));
}

TEST(ResponseHead, ValuesCannotStartHeaders) {
  const std::string head =
      responseHead(200, {{"Location", "/a\r\nSet-Cookie: x"}}, Framing::Length, 3, true);
  EXPECT_EQ(head.find("\r\nSet-Cookie"), std::string::npos);
  EXPECT_NE(head.find("Content-Length: 3\r\n"), std::string::npos);
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
}

TEST(Chunk, HasItsLengthInHexadecimal) {
  EXPECT_EQ(chunkOf(std::string(26, 'x')).substr(0, 4), "1a\r\n");
  EXPECT_EQ(chunkOf(""), "0\r\n\r\n");
}

TEST(GateText, IsTheOneThatIsPrinted) {
  for (const char* text : {"running", "guest-agent", "delay:30s", "delay:250ms"}) {
    const auto gate = parseGate(text);
    ASSERT_TRUE(gate) << text;
    EXPECT_EQ(formatGate(*gate), text);
  }
  for (const char* text :
       {"", "delay", "delay:", "delay:0s", "delay:-1s", "delay:25h", "Running"}) {
    EXPECT_FALSE(parseGate(text)) << text;
  }
}

}  // namespace
}  // namespace vms::runner::api
