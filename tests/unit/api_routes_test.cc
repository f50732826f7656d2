#include <sstream>

#include "runner/api/routes.h"
#include "tests/unit/api_fixture.h"

namespace vms::runner::api {
namespace {

using Routes = ApiTest;

constexpr const char* kDomain =
    "<domain type='test'><name>db</name><uuid>11111111-2222-3333-4444-555555555555</uuid>"
    "<memory>1024</memory><vcpu>1</vcpu></domain>";

std::string definitionOf(const std::string& more) {
  return std::string(R"({"xml": ")") + kDomain + "\"" + more + "}";
}

TEST_F(Routes, DefineTakesSettingsFromTheBody) {
  const Answer answer =
      send("POST", "/v1/vms", definitionOf(R"(, "priority": 80, "ha": "restart", "tier": 2,
                                             "after": ["web1"], "gate": "delay:30s",
                                             "labels": {"env": "prod"})"));
  EXPECT_EQ(answer.status, 201) << answer.body;
  ASSERT_TRUE(service_.defined);
  EXPECT_EQ(service_.defined->priority, 80);
  EXPECT_EQ(service_.defined->ha, HaPolicy::Restart);
  EXPECT_EQ(service_.defined->tier, 2);
  EXPECT_EQ(service_.defined->gate->delay, seconds(30));
  EXPECT_EQ(service_.defined->labels->at("env"), "prod");
  EXPECT_EQ(answer.object().at("vms").as_array().size(), 1u);
}

TEST_F(Routes, DefineTakesXmlWithSettingsInTheQuery) {
  const Answer answer =
      send("POST", "/v1/vms?priority=7&after=a,b&label=x=1&label=y=2&gate=guest-agent", kDomain,
           {{"content-type", "application/xml"}});
  EXPECT_EQ(answer.status, 201) << answer.body;
  EXPECT_EQ(service_.defined->priority, 7);
  EXPECT_EQ(service_.defined->after->size(), 2u);
  EXPECT_EQ(service_.defined->labels->at("y"), "2");
  EXPECT_EQ(service_.defined->xml, kDomain);
}

TEST_F(Routes, DefineRefusesQuerySettingsBesideJson) {
  const Answer answer = send("POST", "/v1/vms?priority=7", definitionOf(""));
  EXPECT_EQ(answer.status, 400);
  EXPECT_NE(answer.text("detail").find("'priority'"), std::string::npos);
}

TEST_F(Routes, MistakesInBodiesAreNamed) {
  struct Case {
    const char* method;
    const char* target;
    std::string body;
    const char* named;
  };
  const std::vector<Case> cases = {
      {"POST", "/v1/vms", "", "no body"},
      {"POST", "/v1/vms", "[]", "JSON object"},
      {"POST", "/v1/vms", "{", "ends too early"},
      {"POST", "/v1/vms", "{}", "'xml'"},
      {"POST", "/v1/vms", R"({"xml": 5})", "'xml'"},
      {"POST", "/v1/vms", definitionOf(R"(, "priority": 101)"), "'priority'"},
      {"POST", "/v1/vms", definitionOf(R"(, "priority": 1.5)"), "'priority'"},
      {"POST", "/v1/vms", definitionOf(R"(, "priority": 1e999)"), ""},
      {"POST", "/v1/vms", definitionOf(R"(, "ha": "Restart")"), "off|restart"},
      {"POST", "/v1/vms", definitionOf(R"(, "ha": "off restart")"), "off|restart"},
      {"POST", "/v1/vms", definitionOf(R"(, "gate": "delay:30")"), "'gate'"},
      {"POST", "/v1/vms", definitionOf(R"(, "gate": "delay:48h")"), "'gate'"},
      {"POST", "/v1/vms", definitionOf(R"(, "labels": {"a=b": "c"})"), "'labels'"},
      {"POST", "/v1/vms", definitionOf(R"(, "labels": {"a": 1})"), "'labels'"},
      {"POST", "/v1/vms", definitionOf(R"(, "after": "web1")"), "'after'"},
      {"POST", "/v1/vms", definitionOf(R"(, "prio": 1)"), "'prio'"},
      {"POST", "/v1/vms", definitionOf(R"(, "tier": 1, "tier": 2)"), "'tier'"},
      {"PATCH", "/v1/vms/web1", R"({"xml": "x"})", "'xml'"},
      {"POST", "/v1/requests", "{}", "'vms'"},
      {"POST", "/v1/requests", R"({"vms": []})", "names no VM"},
      {"POST", "/v1/requests", R"({"vms": ["a"], "all": true})", "only one"},
      {"POST", "/v1/requests", R"({"selector": {}})", "'selector'"},
      {"POST", "/v1/requests", R"({"vms": [""]})", "'vms'"},
      {"POST", "/v1/requests", R"({"vms": [1]})", "'vms'"},
      {"POST", "/v1/requests", R"({"all": "yes"})", "'all'"},
      {"POST", "/v1/requests", R"({"all": true, "host": "No Host"})", "'host'"},
      {"POST", "/v1/requests", R"({"all": true, "avoid": ["ok", "-"]})", "'avoid'"},
      {"POST", "/v1/requests", R"({"all": true, "deadline_ms": 0})", "'deadline_ms'"},
      {"POST", "/v1/requests", R"({"all": true, "deadline_ms": 18446744073709551615})",
       "'deadline_ms'"},
      {"POST", "/v1/requests", R"({"all": true, "dry_run": true})", "'dry_run'"},
      {"POST", "/v1/vms:stop", R"({"all": true, "force": 1})", "'force'"},
      {"POST", "/v1/tokens", R"({"role": "root"})", "'role'"},
      {"POST", "/v1/tokens", R"({"name": "x"})", "'role'"},
  };
  for (const Case& one : cases) {
    const Answer answer = send(one.method, one.target, one.body);
    EXPECT_EQ(answer.status, 400) << one.target << " " << one.body;
    EXPECT_NE(answer.text("detail").find(one.named), std::string::npos)
        << one.body << " -> " << answer.text("detail");
    EXPECT_EQ(answer.text("error_class"), "invalid");
    EXPECT_EQ(answer.headers.at("Content-Type"), "application/problem+json");
  }
  EXPECT_FALSE(service_.started);
  EXPECT_FALSE(service_.stopped);
}

TEST_F(Routes, MistakesInQueriesAreNamed) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"/v1/vms?limit=0", "'limit'"},
      {"/v1/vms?limit=1001", "'limit'"},
      {"/v1/vms?limit=ten", "'limit'"},
      {"/v1/vms?limit=1&limit=2", "'limit'"},
      {"/v1/vms?page=2", "'page'"},
      {"/v1/vms?selector=a", "'selector'"},
      {"/v1/vms?cursor=", "'cursor'"},
      {"/v1/hosts?x", "'x'"},
      {"/v1/history?since=yesterday", "'since'"},
      {"/v1/history?outcome=ok", "'outcome'"},
      {"/v1/history?reason=HA", "'reason'"},
      {"/v1/history?request=7", "'request'"},
      {"/v1/history?limit=1001", "'limit'"},
      {"/v1/history?format=xml", "'format'"},
      {"/v1/history/stats?limit=5", "'limit'"},
  };
  for (const auto& [target, named] : cases) {
    const Answer answer = send("GET", target);
    EXPECT_EQ(answer.status, 400) << target;
    EXPECT_NE(answer.text("detail").find(named), std::string::npos)
        << target << " -> " << answer.text("detail");
  }
}

TEST_F(Routes, LimitsAreThoseOfTheDocument) {
  std::istringstream text{std::string(openApiDocument())};
  std::string path;
  int found = 0;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("  /") && line.ends_with(":")) path = line.substr(2, line.size() - 3);
    const std::size_t maximum = line.find("maximum: ");
    if (line.find("{name: limit") == std::string::npos || maximum == std::string::npos) continue;
    const int most = std::stoi(line.substr(maximum + std::string("maximum: ").size()));
    EXPECT_EQ(static_cast<std::size_t>(most), kPageRows) << path;
    EXPECT_EQ(send("GET", path + "?limit=" + std::to_string(most)).status, 200) << path;
    EXPECT_EQ(send("GET", path + "?limit=" + std::to_string(most + 1)).status, 400) << path;
    ++found;
  }
  EXPECT_EQ(found, 2);
}

TEST_F(Routes, SizesOfTextsAreNamed) {
  const std::vector<std::pair<std::string, const char*>> cases = {
      {R"({"xml": ""})", "field 'xml' is empty"},
      {R"({"xml": 7})", "field 'xml' must be a text"},
      {R"({"xml": "<domain/>", "gate": ")" + std::string(300, 'x') + R"("})",
       "field 'gate' has 300 bytes; at most 32 are accepted"},
  };
  for (const auto& [body, said] : cases) {
    const Answer answer = send("POST", "/v1/vms", body);
    EXPECT_EQ(answer.status, 400) << body;
    EXPECT_NE(answer.text("detail").find(said), std::string::npos) << answer.text("detail");
  }
}

TEST_F(Routes, UnknownThingsAreNotFound) {
  for (const char* target : {"/v1/vms/nope", "/v1/requests/7", "/v1/requests/7/events",
                             "/v1/requests/00000000-0000-0000-0000-000000000009", "/v1/hosts/nope",
                             "/v1/hosts/No%20Host", "/v1/hosts/nope/staging", "/v1/", "/",
                             "/v1/vms/", "/v2/vms", "/v1/nothing"}) {
    const Answer answer = send("GET", target);
    EXPECT_EQ(answer.status, 404) << target;
    EXPECT_EQ(answer.text("error_class"), "not_found") << target;
  }
  EXPECT_EQ(send("DELETE", "/v1/vms/nope").status, 404);
  EXPECT_EQ(send("POST", "/v1/hosts/nope:drain").status, 404);
  EXPECT_EQ(send("POST", "/v1/tokens/nope:revoke").status, 404);
}

TEST_F(Routes, OtherMethodsSayWhatIsAllowed) {
  const Answer wrong = send("PUT", "/v1/vms/web1");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.at("Allow"), "DELETE, GET, HEAD, OPTIONS, PATCH");
  const Answer options = send("OPTIONS", "/v1/vms:stop");
  EXPECT_EQ(options.status, 204);
  EXPECT_EQ(options.headers.at("Allow"), "OPTIONS, POST");
  EXPECT_EQ(send("HEAD", "/v1/vms").status, 200);
}

TEST_F(Routes, EveryRouteHandsOnTheFailureOfTheEngine) {
  for (const Route& route : routes()) {
    if (route.role == Role::Anyone || route.pattern == "/v1/tokens" ||
        route.pattern == "/v1/tokens/{id}:revoke" || route.pattern == "/metrics") {
      continue;
    }
    std::string target(route.pattern);
    const std::size_t open = target.find('{');
    if (open != std::string::npos) {
      const bool is_request = target.find("requests") != std::string::npos;
      target.replace(open, target.find('}') - open + 1,
                     is_request ? "01000000-0000-0000-0000-000000000000" : "host1");
    }
    std::string body;
    if (route.body != BodyType::None)
      body = target == "/v1/vms" ? definitionOf("") : R"({"all": true})";
    if (route.method == "PATCH") body = R"({"tier": 1})";
    service_.fail.emplace(ErrorClass::StoreFull, "the disk is full; make room");
    const Answer answer = send(std::string(route.method), target, body);
    EXPECT_EQ(answer.status, 507) << route.method << " " << target << answer.body;
    EXPECT_EQ(answer.text("detail"), "the disk is full; make room");
    EXPECT_EQ(answer.text("error_class"), "store_full");
    EXPECT_EQ(answer.text("instance"), target);
  }
}

TEST_F(Routes, NamesWithColonsAndEscapesAreNames) {
  service_.addVm("a:b c");
  EXPECT_EQ(send("GET", "/v1/vms/a:b%20c").text("vm_name"), "a:b c");
  EXPECT_EQ(send("GET", "/v1/vms/a%3Ab%20c").text("vm_name"), "a:b c");
}

TEST_F(Routes, ListsOfVmsPage) {
  const Answer first = send("GET", "/v1/vms?limit=1");
  EXPECT_EQ(first.object().at("vms").as_array().size(), 1u);
  EXPECT_EQ(first.text("next_cursor"), "web1");
  const Answer second = send("GET", "/v1/vms?limit=1&cursor=web1");
  EXPECT_TRUE(second.object().at("next_cursor").is_null());
  EXPECT_FALSE(second.object().at("vms").as_array()[0].as_object().contains("xml"));
}

TEST_F(Routes, ShowVmHasNullsForWhatIsAbsent) {
  const json::object vm = send("GET", "/v1/vms/web1").object();
  EXPECT_TRUE(vm.at("host").is_null());
  EXPECT_TRUE(vm.at("attempt").is_null());
  EXPECT_EQ(vm.at("ha").as_string(), "off");
  EXPECT_EQ(vm.at("gate").as_string(), "running");
  EXPECT_TRUE(vm.contains("xml"));
}

TEST_F(Routes, HostsAreShownDrainedActivatedAndConfirmed) {
  EXPECT_EQ(send("GET", "/v1/hosts").object().at("hosts").as_array().size(), 1u);
  EXPECT_EQ(send("POST", "/v1/hosts/host1:drain").text("state"), "draining");
  EXPECT_EQ(send("POST", "/v1/hosts/host1:activate").text("state"), "ready");
  EXPECT_EQ(send("POST", "/v1/hosts/host1:confirm").status, 200);
  EXPECT_EQ(send("POST", "/v1/hosts/host1:forget").status, 409);
  EXPECT_EQ(send("POST", "/v1/hosts/host1:forget?fenced=perhaps").status, 400);
  EXPECT_EQ(send("POST", "/v1/hosts/host1:forget?fenced=true").text("state"), "forgotten");
  const json::object staging = send("GET", "/v1/hosts/host1/staging").object();
  EXPECT_EQ(staging.at("staging").as_array()[0].as_object().at("state").as_string(), "building");
}

TEST_F(Routes, HealthNeedsNoTokenAndReadinessSaysWhy) {
  const std::map<std::string, std::string> nobody = {{"authorization", ""}};
  EXPECT_EQ(send("GET", "/healthz", "", nobody).status, 200);
  EXPECT_EQ(send("GET", "/readyz", "", nobody).status, 200);
  service_.ready = Error(ErrorClass::StoreFull, "the disk is full");
  const Answer not_ready = send("GET", "/readyz", "", nobody);
  EXPECT_EQ(not_ready.status, 503);
  EXPECT_EQ(not_ready.text("detail"), "the disk is full");
  EXPECT_NE(send("GET", "/v1/openapi.yaml", "", nobody).body.find("openapi: 3.1"),
            std::string::npos);
}

TEST_F(Routes, MetricsAreServedWhenThereAreSome) {
  EXPECT_EQ(send("GET", "/metrics").status, 404);
  context_.metrics = [](const EngineFigures&) { return std::string("up 1\n"); };
  EXPECT_EQ(send("GET", "/metrics").body, "up 1\n");
}

}  // namespace
}  // namespace vms::runner::api
