#include <fmt/format.h>

#include "runner/api/wrong_tokens.h"
#include "tests/unit/api_fixture.h"

/// What must hold for every row of the table of routes, also for one that is added tomorrow.
namespace vms::runner::api {
namespace {

class Table : public ApiTest {
 protected:
  Table() {
    cutStreams();
    context_.metrics = [](const EngineFigures&) { return std::string("up 1\n"); };
  }

  Answer ask(const Route& route, const std::string& query = {}, const std::string& body = {},
             std::map<std::string, std::string> headers = {}) {
    return send(std::string(route.method), targetOf(route) + query, body, std::move(headers));
  }

  static std::string nameOf(const Route& route) {
    return std::string(route.method) + " " + std::string(route.pattern);
  }

  /// Refused with a problem document that mentions `named`.
  static void expectProblem(const Answer& answer, int status, const std::string& named,
                            const std::string& what) {
    EXPECT_EQ(answer.status, status) << what << " -> " << answer.body;
    EXPECT_NE(answer.text("detail").find(named), std::string::npos)
        << what << " -> " << answer.text("detail");
    EXPECT_EQ(answer.headers.at("Content-Type"), "application/problem+json") << what;
  }

  std::string addToken(const std::string& role, const std::function<void(TokenRecord&)>& change) {
    MintedToken token = mintToken(role, "x", clock_.wallNow());
    change(token.record);
    service_.tokens.emplace(token.record.hash, token.record);
    return "Bearer " + token.text;
  }
};

TEST_F(Table, TokensDecideWhoPasses) {
  const std::string expired = addToken(
      "admin", [&](TokenRecord& token) { token.expires_at = clock_.wallNow() - seconds(1); });
  const std::string revoked =
      addToken("admin", [&](TokenRecord& token) { token.revoked_at = clock_.wallNow(); });
  const std::string foreign = "Bearer " + mintToken("admin", "x", clock_.wallNow()).text;
  const std::string odd = addToken("root", [](TokenRecord&) {});
  const std::vector<std::pair<std::string, Role>> bearers = {
      {"", Role::Anyone},
      {expired, Role::Anyone},
      {revoked, Role::Anyone},
      {foreign, Role::Anyone},
      {"Bearer " + tokens_.at("viewer"), Role::Viewer},
      {"Bearer " + tokens_.at("operator"), Role::Operator},
      {"Bearer " + tokens_.at("admin"), Role::Admin}};
  for (const Route& route : routes()) {
    for (const auto& [bearer, role] : bearers) {
      const Answer answer = ask(route, "", "", {{"authorization", bearer}});
      const int refused = role == Role::Anyone ? 401 : 403;
      EXPECT_EQ(answer.status == 401 || answer.status == 403, role < route.role)
          << nameOf(route) << " as " << static_cast<int>(role) << " -> " << answer.status;
      if (role >= route.role) continue;
      EXPECT_EQ(answer.status, refused) << nameOf(route);
      EXPECT_EQ(answer.headers.contains("WWW-Authenticate"), refused == 401);
    }
    const Answer answer = ask(route, "", "", {{"authorization", odd}});
    EXPECT_EQ(answer.status == 403, route.role != Role::Anyone) << "an unknown role is none";
  }
}

TEST_F(Table, QueriesAreStrict) {
  for (const Route& route : routes()) {
    expectProblem(ask(route, "?no_such=1"), 400, "'no_such'", nameOf(route));
    expectProblem(ask(route, "?no_such"), 400, "'no_such'", nameOf(route));
    expectProblem(ask(route, "?" + std::string(9'000, 'x') + "=1"), 400, "unknown", nameOf(route));
    std::istringstream words{std::string(route.query)};
    for (std::string word; words >> word;) {
      const std::string name = word.substr(0, word.find('*'));
      const std::string what = nameOf(route) + "?" + name;
      const std::string quoted = "'" + name + "'";
      expectProblem(ask(route, "?" + name + "="), 400, quoted, what);
      expectProblem(ask(route, "?" + name), 400, quoted, what);
      if (word == name) {
        expectProblem(ask(route, fmt::format("?{0}=1&{0}=1", name)), 400, "twice", what);
      }
      // Settings in the query go with XML.
      std::map<std::string, std::string> headers;
      std::string body;
      if (route.body == BodyType::JsonOrXml) {
        headers = {{"content-type", "application/xml"}};
        body = "<domain/>";
      } else if (route.body == BodyType::Json) {
        body = R"({"all": true})";
      }
      expectProblem(ask(route, "?" + name + "=" + std::string(9'000, 'x'), body, headers), 400,
                    quoted, what);
    }
  }
}

TEST_F(Table, BodiesComeOnlyWhereTheyBelong) {
  for (const Route& route : routes()) {
    if (route.body == BodyType::None) {
      expectProblem(ask(route, "", "{}"), 400, "no body", nameOf(route));
      continue;
    }
    expectProblem(ask(route, "", ""), 400, "no body", nameOf(route));
    for (const char* type : {"text/plain", "application/jsonx", "application/x-www-form-urlencoded",
                             "multipart/form-data; boundary=x", "json"}) {
      expectProblem(ask(route, "", "{}", {{"content-type", type}}), 415, type, nameOf(route));
    }
    expectProblem(ask(route, "", R"({"no_such": 1})", {{"content-type", "Application/JSON ; a=b"}}),
                  400, "", nameOf(route));
  }
}

TEST_F(Table, JsonIsStrict) {
  std::string deep = "1";
  for (int i = 0; i < 200; ++i) deep.insert(0, "[").append("]");
  const std::vector<std::pair<std::string, std::string>> bodies = {
      {R"({"no_such": 1})", ""},
      {R"({"no_such": 1, "no_such": 2})", "'no_such'"},
      {"[]", "JSON object"},
      {"null", "JSON object"},
      {R"("text")", "JSON object"},
      {"{", ""},
      {"{}{}", ""},
      {"\xff\xfe", ""},
      {std::string("{\0}", 3), ""},
      {R"({"x": )" + deep + "}", ""},
      {R"({"x": 1e999999})", ""},
  };
  for (const Route& route : routes()) {
    if (route.body == BodyType::None) continue;
    for (const auto& [body, named] : bodies) {
      expectProblem(ask(route, "", body), 400, named, nameOf(route) + " " + body.substr(0, 40));
    }
  }
  EXPECT_FALSE(service_.started || service_.stopped || service_.defined || service_.settings);
}

TEST_F(Table, HeadAndOptionsWorkForAllAndOthersAreRefused) {
  for (const Route& route : routes()) {
    const std::string target = targetOf(route);
    const Answer options = send("OPTIONS", target, "", {{"authorization", ""}});
    EXPECT_EQ(options.status, 204) << target;
    EXPECT_NE(options.headers.at("Allow").find(route.method), std::string::npos) << target;
    EXPECT_EQ(send("TRACE", target).status, 405) << target;
    if (route.method != "GET") continue;
    EXPECT_EQ(send("HEAD", target).status, ask(route).status) << target;
  }
  EXPECT_EQ(send("OPTIONS", "*", "", {{"authorization", ""}}).status, 204);
}

TEST_F(Table, WhatThisVersionLacksIsNotFound) {
  for (const char* target :
       {"/v1/hosts/host1:fence", "/v1/hosts/host1:confirm-fenced", "/v1/vms/web1:suspend",
        "/v1/vms/web1:migrate", "/v1/ha", "/v1/plan/host-failure/host1"}) {
    for (const char* method : {"GET", "POST"}) {
      const Answer answer = send(method, target);
      if (answer.status == 405) continue;  // A VM or host may be called so.
      expectProblem(answer, 404, "", target);
    }
  }
  expectProblem(send("GET", "/v1/ha"), 404, "/v1/openapi.yaml", "ha");
  expectProblem(send("POST", "/v1/plan/host-failure/host1"), 404, "/v1/openapi.yaml", "plan");
}

TEST_F(Table, WrongTokensAreSlowedDownAndGoodOnesAreNot) {
  WrongTokens wrong(WrongTokens::Limits{3, seconds(100), 2});
  context_.wrong_tokens = &wrong;
  const std::string foreign = "Bearer " + mintToken("admin", "x", clock_.wallNow()).text;
  const auto statusOf = [&](const std::string& peer, const std::string& bearer) {
    peer_ = peer;
    return send("GET", "/v1/hosts", "", {{"authorization", bearer}}).status;
  };
  for (int i = 0; i < 3; ++i) EXPECT_EQ(statusOf("192.0.2.1:1", foreign), 401);
  // Another port is the same peer.
  const Answer slow = send("GET", "/v1/hosts", "", {{"authorization", foreign}});
  expectProblem(slow, 429, "192.0.2.1", "too many");
  EXPECT_EQ(slow.text("error_class"), "rate_limited");
  EXPECT_EQ(slow.headers.at("Retry-After"), "100");
  EXPECT_EQ(statusOf("192.0.2.1:2", foreign), 429);
  EXPECT_EQ(statusOf("192.0.2.1:2", "Bearer " + tokens_.at("viewer")), 200);
  EXPECT_EQ(statusOf("192.0.2.1:2", ""), 401) << "no token is no guess";
  EXPECT_EQ(statusOf("[2001:db8::1]:2", foreign), 401) << "another peer";
}

TEST(WrongTokens, AreForgivenWithTime) {
  WrongTokens wrong(WrongTokens::Limits{2, seconds(1), 10});
  TimePoint now;
  EXPECT_FALSE(wrong.note("a", now));
  EXPECT_FALSE(wrong.note("a", now));
  EXPECT_EQ(wrong.note("a", now), seconds(1));
  EXPECT_EQ(wrong.note("a", now), seconds(1)) << "what is refused does not count";
  EXPECT_FALSE(wrong.note("a", now + seconds(1)));
  EXPECT_TRUE(wrong.note("a", now + seconds(1)));
}

TEST(WrongTokens, TheTableIsBounded) {
  WrongTokens wrong(WrongTokens::Limits{1, seconds(1), 2});
  const TimePoint now;
  EXPECT_FALSE(wrong.note("a", now));
  EXPECT_FALSE(wrong.note("b", now));
  EXPECT_TRUE(wrong.note("a", now));
  EXPECT_FALSE(wrong.note("c", now)) << "b was quiet for longest and is forgotten";
  EXPECT_TRUE(wrong.note("a", now));
  EXPECT_FALSE(wrong.note("b", now));
}

}  // namespace
}  // namespace vms::runner::api
