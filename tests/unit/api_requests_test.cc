#include "tests/unit/api_fixture.h"

namespace vms::runner::api {
namespace {

using Requests = ApiTest;

TEST_F(Requests, CreateHandsOnWhatWasAskedAndWhoAsked) {
  const Answer answer =
      send("POST", "/v1/requests",
           R"({"vms": ["web1", "web2"], "host": "host1", "avoid": ["h2"], "priority": 9,
               "paused": true, "deadline_ms": 1500})",
           {{"idempotency-key", "key 1"}});
  EXPECT_EQ(answer.status, 202) << answer.body;
  ASSERT_TRUE(service_.started);
  EXPECT_EQ(service_.started->selection.vms.size(), 2u);
  EXPECT_EQ(service_.started->host, "host1");
  EXPECT_EQ(service_.started->avoid.at(0), "h2");
  EXPECT_EQ(service_.started->priority, 9);
  EXPECT_TRUE(service_.started->paused);
  EXPECT_EQ(service_.started->deadline, milliseconds(1500));
  EXPECT_EQ(service_.started->idempotency_key, "key 1");
  EXPECT_EQ(service_.principal->role, "admin");
  EXPECT_EQ(answer.headers.at("Location"), "/v1/requests/" + answer.text("request_id"));
}

TEST_F(Requests, TheBodysHashIgnoresOrderBlanksAndNulls) {
  send("POST", "/v1/requests", R"({"all": true, "priority": 9})");
  const std::string hash = service_.started->body_hash;
  EXPECT_EQ(hash.size(), 64u);
  send("POST", "/v1/requests", R"( { "priority":9,"host":null, "all":true})");
  EXPECT_EQ(service_.started->body_hash, hash);
  send("POST", "/v1/requests", R"({"all": true, "priority": 8})");
  EXPECT_NE(service_.started->body_hash, hash);
}

TEST_F(Requests, AKeyBelongsToItsBody) {
  const std::map<std::string, std::string> key = {{"idempotency-key", "k"}};
  const Answer first = send("POST", "/v1/requests", R"({"vms": ["web1"]})", key);
  const Answer again = send("POST", "/v1/requests", R"({"vms": ["web1"]})", key);
  EXPECT_EQ(again.text("request_id"), first.text("request_id"));
  const Answer other = send("POST", "/v1/requests", R"({"vms": ["web2"]})", key);
  EXPECT_EQ(other.status, 422);
  EXPECT_EQ(other.text("error_class"), "key_reused");
}

TEST_F(Requests, BadKeysAreRefused) {
  for (const std::string& key :
       {std::string(), std::string(256, 'k'), std::string("t\xc3\xa4st")}) {
    const Answer answer =
        send("POST", "/v1/requests", R"({"all": true})", {{"idempotency-key", key}});
    EXPECT_EQ(answer.status, 400) << key;
  }
  EXPECT_FALSE(service_.started);
}

TEST_F(Requests, ADryRunStartsNothing) {
  const Answer answer = send("POST", "/v1/requests?dry_run=true", R"({"vms": ["web1"]})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(service_.requestIds().empty());
  const json::object body = answer.object();
  EXPECT_EQ(body.at("vms").as_array()[0].as_object().at("host").as_string(), "host1");
  EXPECT_EQ(send("POST", "/v1/requests?dry_run=maybe", R"({"all": true})").status, 400);
}

TEST_F(Requests, TheJsonHasTheContractsKeys) {
  const json::object request = send("POST", "/v1/requests", R"({"all": true})").object();
  for (const char* key : {"request_id", "state", "total", "queued", "placed", "sent", "staged",
                          "building", "running", "ready", "failed", "held", "unknown", "cancelled",
                          "batches", "eta_ms", "created_at", "finished_at"}) {
    EXPECT_TRUE(request.contains(key)) << key;
  }
  EXPECT_TRUE(request.at("eta_ms").is_null());
  EXPECT_TRUE(request.at("finished_at").is_null());
}

TEST_F(Requests, ListShowAndCancel) {
  const std::string id = send("POST", "/v1/requests", R"({"all": true})").text("request_id");
  EXPECT_EQ(send("GET", "/v1/requests").object().at("requests").as_array().size(), 1u);
  EXPECT_EQ(send("GET", "/v1/requests/" + id).text("state"), "active");
  const Answer cancelled = send("POST", "/v1/requests/" + id + ":cancel");
  EXPECT_EQ(cancelled.status, 202);
  EXPECT_EQ(cancelled.text("state"), "cancelled");
}

TEST_F(Requests, StopSelectsAsRunDoes) {
  const Answer answer = send("POST", "/v1/vms:stop", R"({"vms": ["web1"], "force": true})");
  EXPECT_EQ(answer.status, 202);
  EXPECT_TRUE(service_.stopped->force);
  EXPECT_EQ(answer.object().at("vms").as_array().size(), 1u);
}

TEST_F(Requests, EventsOfAFinishedRequestAreOneSnapshot) {
  service_.finish_at_once = true;
  const std::string id = send("POST", "/v1/requests", R"({"all": true})").text("request_id");
  const Answer events = send("GET", "/v1/requests/" + id + "/events");
  EXPECT_EQ(events.status, 200);
  EXPECT_EQ(events.headers.at("Content-Type"), "text/event-stream");
  EXPECT_EQ(events.body.find("id: 1-1\nevent: snapshot\ndata: {"), 0u) << events.body;
  EXPECT_TRUE(events.body.ends_with("}\n\n"));
  EXPECT_EQ(*service_.watching, 0u);
}

/// Makes changes as the client reads on.
class Reader final : public ResponseStream {
 public:
  explicit Reader(std::function<void(int)> at_write) : at_write_(std::move(at_write)) {}
  asio::awaitable<Result<void>> write(std::string data) override {
    pieces.push_back(std::move(data));
    at_write_(static_cast<int>(pieces.size()));
    if (gone) co_return Error(ErrorClass::Unavailable, "the client is gone");
    co_return Result<void>();
  }
  std::vector<std::string> pieces;
  bool gone = false;

 private:
  std::function<void(int)> at_write_;
};

class Events : public ApiTest {
 protected:
  /// Reads the events of a new request to their end.
  std::vector<std::string> read(std::function<void(RequestId, int, Reader&)> at_write) {
    const std::string text = send("POST", "/v1/requests", R"({"all": true})").text("request_id");
    RequestId id;
    id.uuid = Uuid::parse(text).value();
    Reader* raw = nullptr;
    Reader reader([&](int count) { at_write(id, count, *raw); });
    raw = &reader;
    run([&]() { return watch(text, &reader); });
    EXPECT_EQ(*service_.watching, 0u);
    return reader.pieces;
  }

 private:
  asio::awaitable<void> watch(std::string id, Reader* reader) {
    HttpRequest request;
    request.method = "GET";
    request.target = "/v1/requests/" + id + "/events";
    (void)parseTarget(request);
    request.headers["authorization"] = "Bearer " + tokens_.at("viewer");
    HttpRequest head = request;
    Admission admission = co_await handlers_.admit(std::move(head));
    request.context = admission.context;
    HttpReply reply = co_await handlers_.handle(std::move(request));
    const HttpStream& stream = std::get<HttpStream>(reply);
    (void)co_await stream.produce(*reader);
  }
};

TEST_F(Events, DeltasHoldWhatChangedAndTheStreamEndsWithTheRequest) {
  const auto pieces = read([this](RequestId id, int count, Reader&) {
    service_.change(id, [count](RequestView& view) {
      view.queued = 0;
      view.running = 2;
      if (count == 2) view.state = "succeeded";
    });
  });
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_NE(pieces[0].find("event: snapshot"), std::string::npos);
  EXPECT_NE(pieces[1].find("id: 1-2\nevent: delta\n"), std::string::npos) << pieces[1];
  EXPECT_NE(pieces[1].find("\"running\":2"), std::string::npos);
  EXPECT_EQ(pieces[1].find("\"total\""), std::string::npos);
  EXPECT_NE(pieces[2].find("\"state\":\"succeeded\""), std::string::npos);
  EXPECT_EQ(pieces[2].find("\"running\""), std::string::npos);
}

TEST_F(Events, ANewGenerationResets) {
  const auto pieces = read([this](RequestId id, int count, Reader&) {
    service_.generation = 2;
    service_.change(id, [count](RequestView& view) {
      if (count == 2) view.state = "failed";
    });
  });
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[1].find("event: reset\ndata: {}\n\nid: 2-"), 0u) << pieces[1];
  EXPECT_NE(pieces[1].find("event: snapshot"), std::string::npos);
}

TEST_F(Events, AForgottenRequestIsGone) {
  const auto pieces = read([this](RequestId id, int count, Reader&) {
    if (count == 1) service_.forget(id);
  });
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[1], "event: gone\ndata: {}\n\n");
}

TEST_F(Events, AClientThatLeavesEndsTheWatch) {
  const auto pieces = read([](RequestId, int, Reader& reader) { reader.gone = true; });
  EXPECT_EQ(pieces.size(), 1u);
}

TEST_F(Events, AQuietStreamIsKeptAlive) {
  context_.keepalive = milliseconds(1);
  const auto pieces = read([this](RequestId id, int count, Reader&) {
    if (count == 3) service_.change(id, [](RequestView& view) { view.state = "failed"; });
  });
  ASSERT_GE(pieces.size(), 4u);
  EXPECT_EQ(pieces[1], ": keepalive\n\n");
}

}  // namespace
}  // namespace vms::runner::api
