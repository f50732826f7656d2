#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/api_fixture.h"

namespace vms::runner::api {
namespace {

using Auth = ApiTest;

TEST_F(Auth, WithoutATokenNothingIsTold) {
  for (const char* text : {"", "Bearer", "Bearer ", "Basic abc", "Bearer vms_x_y",
                           "Bearer vms_000000000000_"
                           "0000000000000000000000000000000000000000000000000000000000000000"}) {
    const Answer answer = send("GET", "/v1/vms", "", {{"authorization", text}});
    EXPECT_EQ(answer.status, 401) << text;
    EXPECT_EQ(answer.headers.at("WWW-Authenticate"), "Bearer realm=\"vmsrunner\"");
    EXPECT_EQ(answer.text("error_class"), "unauthenticated");
  }
}

TEST_F(Auth, ATokenNeedsItsOwnId) {
  std::string text = tokens_.at("admin");
  text[4] = text[4] == '0' ? '1' : '0';
  EXPECT_EQ(send("GET", "/v1/vms", "", {{"authorization", "Bearer " + text}}).status, 401);
}

TEST_F(Auth, TheSchemeIsCaseInsensitive) {
  EXPECT_EQ(
      send("GET", "/v1/vms", "", {{"authorization", "bearer " + tokens_.at("viewer")}}).status,
      200);
}

TEST_F(Auth, EveryRouteChecksItsRole) {
  cutStreams();
  const std::vector<std::string> roles = {"viewer", "operator", "admin"};
  for (const Route& route : routes()) {
    if (route.role == Role::Anyone) continue;
    std::string target(route.pattern);
    if (const std::size_t open = target.find('{'); open != std::string::npos) {
      target.replace(open, target.find('}') - open + 1, "x");
    }
    for (std::size_t i = 0; i < roles.size(); ++i) {
      const Answer answer = sendAs(roles[i], std::string(route.method), target);
      const bool allowed = static_cast<Role>(i + 1) >= route.role;
      EXPECT_EQ(answer.status == 403, !allowed) << roles[i] << " " << route.method << " " << target;
    }
  }
}

TEST_F(Auth, ChangesAreNotForViewers) {
  for (const Route& route : routes()) {
    if (route.method != "GET") {
      EXPECT_GE(route.role, Role::Operator) << route.pattern;
    }
  }
}

TEST_F(Auth, ExpiredAndRevokedTokensAreUnknown) {
  for (auto& [hash, token] : service_.tokens) {
    if (token.role == "viewer") token.expires_at = clock_.wallNow() - seconds(1);
    if (token.role == "operator") token.revoked_at = clock_.wallNow();
  }
  EXPECT_EQ(sendAs("viewer", "GET", "/v1/vms").status, 401);
  EXPECT_EQ(sendAs("operator", "GET", "/v1/vms").status, 401);
  EXPECT_EQ(sendAs("admin", "GET", "/v1/vms").status, 200);
}

TEST_F(Auth, TokensAreCreatedListedAndRevokedAtOnce) {
  const Answer created =
      send("POST", "/v1/tokens", R"({"role": "viewer", "name": "ci", "expires_in_ms": 60000})");
  EXPECT_EQ(created.status, 201) << created.body;
  const std::string bearer = "Bearer " + created.text("token");
  EXPECT_EQ(send("GET", "/v1/vms", "", {{"authorization", bearer}}).status, 200);
  const Answer listed = send("GET", "/v1/tokens");
  EXPECT_EQ(listed.object().at("tokens").as_array().size(), 4u);
  EXPECT_EQ(listed.body.find("hash"), std::string::npos);
  EXPECT_EQ(listed.body.find(created.text("token").substr(17)), std::string::npos);
  EXPECT_EQ(send("POST", "/v1/tokens/" + created.text("token_id") + ":revoke").status, 200);
  EXPECT_EQ(send("GET", "/v1/vms", "", {{"authorization", bearer}}).status, 401);
}

TEST_F(Auth, TheStoreKeepsNoSecret) {
  const MintedToken token = mintToken("viewer", "x", clock_.wallNow());
  const auto text = parseToken(token.text);
  ASSERT_TRUE(text);
  EXPECT_EQ(text->id, token.record.id);
  EXPECT_EQ(sha256Hex(text->secret), token.record.hash);
  EXPECT_EQ(sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(TokenFile, IsPrivateAndNeverReplaced) {
  char folder[] = "/tmp/vms-token-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  const std::string path = std::string(folder) + "/token";
  ASSERT_TRUE(writeTokenFile(path, "vms_a_b"));
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  std::string line;
  std::ifstream(path) >> line;
  EXPECT_EQ(line, "vms_a_b");
  const auto again = writeTokenFile(path, "other");
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message.find(path), std::string::npos);
  EXPECT_FALSE(writeTokenFile(std::string(folder) + "/no/token", "x"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace vms::runner::api
