#include "tests/unit/api_fixture.h"

namespace vms::runner::api {
namespace {

class ApiEvents : public ApiTest {
 protected:
  ApiEvents() {
    EventBatch batch;
    for (int i = 0; i < 3; ++i) {
      VmEvent vm;
      vm.vm.uuid.bytes[15] = static_cast<std::uint8_t>(i);
      vm.vm_name = "vm" + std::to_string(i);
      vm.state = "stopped";
      batch.vms.push_back(vm);
    }
    HostEvent host;
    host.host = "h1";
    host.state = "ready";
    batch.hosts.push_back(host);
    RequestView request;
    request.state = "active";
    request.request.total = 3;
    request.queued = 3;
    batch.requests.push_back(request);
    batch.complete = true;
    service_.tell(std::move(batch));
    context_.keepalive = milliseconds(1);
  }

  /// The first `writes` pieces of a stream.
  Answer watch(const std::string& query, std::size_t writes, const std::string& last_id = {}) {
    stream_writes_ = writes;
    std::map<std::string, std::string> headers = {
        {"authorization", "Bearer " + tokens_.at("viewer")}};
    if (!last_id.empty()) headers.emplace("last-event-id", last_id);
    return send("GET", "/v1/events" + query, "", std::move(headers));
  }
};

TEST_F(ApiEvents, ASnapshotHasEverything) {
  const Answer answer = watch("", 1);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.at("Content-Type"), "text/event-stream");
  EXPECT_EQ(answer.body.find("id: 1-1\nevent: snapshot\ndata: {\"hosts\":[{\"host\":\"h1\","), 0u)
      << answer.body;
  EXPECT_NE(answer.body.find("\"total\":3"), std::string::npos);
  EXPECT_NE(answer.body.find("\"vm_name\":\"vm2\",\"state\":\"stopped\",\"state_reason\":null,"
                             "\"host\":null}"),
            std::string::npos);
  EXPECT_TRUE(answer.body.ends_with("\"more\":false}\n\n")) << answer.body;
  EXPECT_EQ(answer.body.find("failures"), std::string::npos);
  EXPECT_EQ(*service_.watching, 0u) << "the watch ends with its client";
}

TEST_F(ApiEvents, KindsAreChosen) {
  const Answer hosts = watch("?kinds=host", 1);
  EXPECT_NE(hosts.body.find("\"hosts\""), std::string::npos);
  EXPECT_EQ(hosts.body.find("\"vms\""), std::string::npos);
  const Answer two = watch("?kinds=vm,request", 1);
  EXPECT_EQ(two.body.find("\"hosts\""), std::string::npos);
  EXPECT_NE(two.body.find("\"requests\""), std::string::npos);
  for (const char* query : {"?kinds=vms", "?kinds=", "?kinds=vm,", "?kinds=vm&kinds=host"}) {
    const Answer bad = watch(query, 1);
    EXPECT_EQ(bad.status, query == std::string("?kinds=vm,") ? 200 : 400) << query;
  }
}

TEST_F(ApiEvents, ChangesFollowAndAQuietStreamIsKeptAlive) {
  EXPECT_TRUE(watch("", 2).body.ends_with(": keepalive\n\n"));
  EventBatch batch;
  VmEvent vm;
  vm.vm.uuid.bytes[15] = 1;
  vm.vm_name = "vm1";
  vm.state = "running";
  vm.host = "h1";
  batch.vms.push_back(vm);
  service_.tell(std::move(batch));
  const Answer answer = watch("", 1, "1-1");
  EXPECT_EQ(answer.body.find("id: 1-2\nevent: delta\ndata: {"), 0u) << answer.body;
  EXPECT_NE(answer.body.find("\"state\":\"running\",\"state_reason\":null,\"host\":\"h1\""),
            std::string::npos);
}

TEST_F(ApiEvents, AnIdOfAnotherEngineBeginsWithAReset) {
  EXPECT_EQ(watch("", 1, "99-1").body.find("event: reset\ndata: {}\n\nid: 1-1\nevent: snapshot\n"),
            0u);
  for (const char* id : {"x", "1", "1-", "-1", "1-2-3", "1-2 ", "99999999999999999999-1"}) {
    const Answer bad = watch("", 1, id);
    EXPECT_EQ(bad.status, 400) << id;
    EXPECT_NE(bad.text("detail").find("'Last-Event-ID'"), std::string::npos);
  }
}

TEST_F(ApiEvents, AStreamEndsWithItsToken) {
  context_.token_check = milliseconds(1);
  for (const bool revoke : {true, false}) {
    for (auto& [hash, token] : service_.tokens) {
      if (token.role != "viewer") continue;
      token.revoked_at.reset();
      token.expires_at.reset();
    }
    authenticator_.forget();
    asio::steady_timer soon(io_, milliseconds(20));
    soon.async_wait([&](boost::system::error_code) {
      for (auto& [hash, token] : service_.tokens) {
        if (token.role != "viewer") continue;
        if (revoke) token.revoked_at = clock_.wallNow();
        if (!revoke) token.expires_at = clock_.wallNow();
      }
      authenticator_.forget();
    });
    const Answer answer = watch("", 1'000'000);
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(answer.complete);
    EXPECT_NE(answer.body.find("event: closed\ndata: {\"detail\":"), std::string::npos);
    EXPECT_NE(answer.body.find("unauthenticated"), std::string::npos);
  }
}

TEST_F(ApiEvents, AFailureOfTheEngineCutsTheStream) {
  asio::steady_timer soon(io_, milliseconds(20));
  soon.async_wait([&](boost::system::error_code) {
    service_.fail.emplace(ErrorClass::Unavailable, "the engine is stopping");
    service_.tell(EventBatch());
  });
  EXPECT_FALSE(watch("", 1'000'000).complete);
}

}  // namespace
}  // namespace vms::runner::api
