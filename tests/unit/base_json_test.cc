#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <string>

#include "schema/base/json.h"

namespace vms {
namespace {

std::string errorOf(std::string_view text, JsonLimits limits = JsonLimits()) {
  const auto result = parseJson(text, "body", limits);
  return result ? "parsed" : result.error().message;
}

TEST(Json, ParsesEveryKindOfValue) {
  const auto result = parseJson(
      R"({"a":[1,-2,3.5,true,false,null],"b":{"c":"x\u00e9\n"},"d":18446744073709551615,"e":[],"f":{}})",
      "body");
  ASSERT_TRUE(result) << result.error().message;
  const json::object& object = result->as_object();
  EXPECT_EQ(object.at("a").as_array().size(), 6U);
  EXPECT_EQ(object.at("a").as_array()[2].as_double(), 3.5);
  EXPECT_EQ(object.at("b").as_object().at("c").as_string(), "x\xc3\xa9\n");
  EXPECT_EQ(object.at("d").as_uint64(), 18446744073709551615U);
}

TEST(Json, ParsesScalarsAtTheTop) {
  EXPECT_EQ(parseJson(" 42 ", "body")->as_int64(), 42);
  EXPECT_EQ(parseJson("\"\"", "body")->as_string(), "");
}

TEST(Json, RefusesDuplicateKeysWithPlaceAndName) {
  EXPECT_EQ(errorOf("{\"a\":1,\n \"host\":2, \"host\":3}"),
            "body:2:17: key 'host' occurs twice; name each key once");
}

TEST(Json, RefusesDuplicatesThatAreSpelledDifferently) {
  EXPECT_NE(errorOf(R"({"a":1,"\u0061":2})").find("key 'a' occurs twice"), std::string::npos);
}

TEST(Json, RefusesDuplicatesInNestedObjects) {
  EXPECT_NE(errorOf(R"([{"x":{"k":[],"k":{}}}])").find("key 'k'"), std::string::npos);
}

TEST(Json, AllowsTheSameKeyInDifferentObjects) {
  EXPECT_EQ(errorOf(R"({"a":{"a":[{"a":1},{"a":2}]},"b":{"a":3}})"), "parsed");
}

TEST(Json, RefusesWhatIsNotStrictJson) {
  for (const char* text : {"", " ", "{", "[1,]", "{\"a\":1,}", "{'a':1}", "[1] 2", "// c\n1", "nul",
                           "01", "+1", "\"\x01\"", "\"\xff\"", "NaN", "{\"a\" 1}", "\"\\x\""}) {
    EXPECT_NE(errorOf(text), "parsed") << text;
    EXPECT_EQ(errorOf(text).rfind("body:1:", 0), 0U) << errorOf(text);
  }
}

TEST(Json, LimitsDepth) {
  const JsonLimits limits{1024, 3};
  EXPECT_EQ(errorOf("[[[1]]]", limits), "parsed");
  EXPECT_NE(errorOf("[[[[1]]]]", limits).find("deeper than the allowed 3 levels"),
            std::string::npos);
}

TEST(Json, LimitsSize) {
  const auto result = parseJson("[1,2,3]", "body", JsonLimits{6, 32});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().error_class, ErrorClass::TooLarge);
  EXPECT_TRUE(parseJson("[1,2,3]", "body", JsonLimits{7, 32}));
}

}  // namespace
}  // namespace vms
