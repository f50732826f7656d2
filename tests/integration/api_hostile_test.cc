#include <sys/resource.h>

#include <algorithm>
#include <thread>

#include "tests/integration/api_peer.h"

/// Clients that are slow, silent, greedy or wrong, and what they may cost the others.
namespace vms::runner::api {
namespace {

class ApiHostile : public ApiHttp {
 protected:
  static constexpr const char* kNobody = "GET /v1/hosts HTTP/1.1\r\nHost: x\r\n";

  static void shorten(ApiOptions& options) {
    options.http.handshake_timeout = options.http.header_timeout = milliseconds(200);
    options.http.body_timeout = options.http.idle_timeout = milliseconds(200);
  }
  void expectServed(ApiServer& server) {
    EXPECT_EQ(talk(server, get(server, "/healthz", kClose)).find("HTTP/1.1 200 "), 0u);
  }
  static void expectTooSlow(const std::string& answer, const std::string& part) {
    EXPECT_EQ(answer.find("HTTP/1.1 408 Request Timeout\r\n"), 0u) << answer;
    EXPECT_NE(answer.find("application/problem+json"), std::string::npos);
    EXPECT_NE(answer.find("Connection: close"), std::string::npos);
    EXPECT_NE(answer.find("the request's " + part), std::string::npos) << answer;
  }
  /// Until the engine has no watch any more; bounded by the test's time-out.
  static void awaitNoWatch(ApiServer& server) {
    while (server.onEngine([](FakeService& service) { return *service.watching; }) != 0) {
      std::this_thread::yield();
    }
  }
  /// One more token that counts.
  static std::string addToken(ApiServer& server) {
    MintedToken minted = mintToken("admin", "another", AsioClock().wallNow());
    server.onEngine([record = minted.record](FakeService& service) {
      service.tokens.emplace(record.hash, record);
    });
    return minted.text;
  }
  static EventBatch everything() {
    EventBatch batch;
    batch.complete = true;
    return batch;
  }
};

TEST_F(ApiHostile, SilentClientsAreEnded) {
  ApiServer server(folder_, shorten);
  RawPeer no_tls(server.address());
  EXPECT_EQ(no_tls.readPlainToEnd(), "");
  EXPECT_EQ(peer(server)->readToEnd(), "") << "nothing was asked, so nothing is answered";
  EXPECT_EQ(countOf(talk(server, get(server, "/healthz")), "HTTP/1.1 "), 1u);
}

TEST_F(ApiHostile, WhoDoesNotFinishARequestIsToldSo) {
  ApiServer server(folder_, shorten);
  expectTooSlow(talk(server, "G"), "head");
  expectTooSlow(talk(server, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "), "head");
  const std::string post =
      "POST /v1/requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + server.token() + "\r\n";
  expectTooSlow(talk(server, post + "Content-Length: 5\r\n\r\n{"), "body");
  expectTooSlow(talk(server, post + "Transfer-Encoding: chunked\r\n\r\n5\r\n{"), "body");
  // After a whole exchange, too.
  const std::string second = talk(server, get(server, "/healthz") + "GET /heal");
  EXPECT_EQ(second.find("HTTP/1.1 200 "), 0u);
  expectTooSlow(second.substr(second.find("HTTP/1.1 408 ")), "head");
}

TEST_F(ApiHostile, BytesNowAndThenDoNotBuyTime) {
  ApiServer server(folder_, shorten);
  const auto one = peer(server);
  one->send("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ");
  const AsioClock clock;
  const TimePoint end = clock.now() + milliseconds(600);
  while (clock.now() < end) {
    one->send("x");
    expectServed(server);
  }
  // It would be complete now, had every byte begun the time anew.
  one->send("\r\n\r\n");
  expectTooSlow(one->readToEnd(), "head");
}

TEST_F(ApiHostile, AThousandIdleConnectionsDisturbNobody) {
  constexpr rlim_t kNeeded = 2'400;  // Both ends are ours.
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  if (limit.rlim_max < kNeeded) GTEST_SKIP() << "needs " << kNeeded << " descriptors";
  limit.rlim_cur = std::max(limit.rlim_cur, kNeeded);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  ApiServer server(folder_);
  std::vector<std::unique_ptr<RawPeer>> idle;
  for (int i = 0; i < 1'000; ++i) {
    idle.push_back(peer(server));
    if (i % 100 == 0) expectServed(server);
  }
  // Every tenth has begun a request.
  for (std::size_t i = 0; i < idle.size(); i += 10) idle[i]->send("GET /heal");
  for (int i = 0; i < 20; ++i) expectServed(server);
  idle[1]->send(get(server, "/healthz"));
  EXPECT_EQ(idle[1]->readSome().find("HTTP/1.1 200 "), 0u);
  server.stop();
  for (const auto& one : idle) one->readToEnd();
}

TEST_F(ApiHostile, WhoNeverShowsATokenGivesWay) {
  ApiServer server(folder_, [](ApiOptions& options) { options.http.connections = 3; });
  const auto known = peer(server);
  known->send(get(server, "/v1/hosts"));
  EXPECT_EQ(known->readSome().find("HTTP/1.1 200 "), 0u);
  const auto nobody = peer(server);
  nobody->send(std::string(kNobody) + "\r\n");
  EXPECT_EQ(nobody->readSome().find("HTTP/1.1 401 "), 0u);
  RawPeer silent(server.address());
  // The limit is reached; each of these takes the place of the oldest that has shown nothing.
  const auto first = peer(server);
  EXPECT_EQ(nobody->readToEnd(), "");
  const auto second = peer(server);
  EXPECT_EQ(silent.readPlainToEnd(), "");
  for (RawPeer* one : {known.get(), first.get(), second.get()}) {
    one->send(get(server, "/v1/hosts"));
    EXPECT_EQ(one->readSome().find("HTTP/1.1 200 "), 0u);
  }
}

TEST_F(ApiHostile, OneTokenDoesNotHoldAllConnections) {
  ApiServer server(folder_, [](ApiOptions& options) {
    options.http.connections = 5;
    options.http.token_connections = 2;
  });
  const std::string other = addToken(server);
  const auto ask = [](RawPeer& one, const std::string& token) {
    one.send("GET /v1/hosts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\n\r\n");
  };
  std::vector<std::unique_ptr<RawPeer>> held;
  for (int i = 0; i < 2; ++i) {
    held.push_back(peer(server));
    ask(*held.back(), server.token());
    EXPECT_EQ(held.back()->readSome().find("HTTP/1.1 200 "), 0u);
  }
  const auto third = peer(server);
  ask(*third, server.token());
  const std::string refusal = third->readToEnd();
  EXPECT_EQ(refusal.find("HTTP/1.1 429 Too Many Requests\r\n"), 0u) << refusal;
  EXPECT_NE(refusal.find("\"rate_limited\""), std::string::npos) << refusal;
  EXPECT_NE(refusal.find(" has its maximum of 2 connections"), std::string::npos) << refusal;
  EXPECT_NE(refusal.find("Retry-After: "), std::string::npos) << refusal;
  // Nobody else hears of it, and what is open goes on.
  const auto stranger = peer(server);
  ask(*stranger, other);
  EXPECT_EQ(stranger->readSome().find("HTTP/1.1 200 "), 0u);
  ask(*held[0], server.token());
  EXPECT_EQ(held[0]->readSome().find("HTTP/1.1 200 "), 0u);
  // A connection belongs to the token that it showed last, and makes room with its end.
  ask(*held[1], other);
  EXPECT_EQ(held[1]->readSome().find("HTTP/1.1 200 "), 0u);
  const auto again = peer(server);
  ask(*again, server.token());
  EXPECT_EQ(again->readSome().find("HTTP/1.1 200 "), 0u);
}

TEST_F(ApiHostile, OneTokenDoesNotHoldAllBodies) {
  ApiServer server(folder_, [](ApiOptions& options) {
    options.http.all_bodies_bytes = 3'000;
    options.http.token_bodies_bytes = 1'500;
  });
  const std::string other = addToken(server);
  const auto post = [](const std::string& token, std::size_t size) {
    return "POST /v1/requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token +
           "\r\nExpect: 100-continue\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n";
  };
  const auto slow = peer(server);
  slow->send(post(server.token(), 1'000));
  EXPECT_EQ(slow->readSome().find("HTTP/1.1 100 "), 0u);
  const std::string refusal = talk(server, post(server.token(), 501));
  EXPECT_EQ(refusal.find("HTTP/1.1 429 "), 0u) << refusal;
  EXPECT_NE(refusal.find("of bodies under way"), std::string::npos) << refusal;
  const auto small = peer(server);
  small->send(post(server.token(), 500));
  EXPECT_EQ(small->readSome().find("HTTP/1.1 100 "), 0u);
  const auto stranger = peer(server);
  stranger->send(post(other, 1'500));
  EXPECT_EQ(stranger->readSome().find("HTTP/1.1 100 "), 0u);
}

TEST_F(ApiHostile, AnExportEndsWhenItsTokenIsRevoked) {
  ApiServer server(folder_, [](ApiOptions& options) { options.token_check = Duration{}; });
  constexpr std::size_t kRows = 100'000;  // More than all buffers between us hold.
  server.onEngine([](FakeService& service) { service.attempts.resize(kRows); });
  const auto one = peer(server);
  one->send(get(server, "/v1/history?format=ndjson"));
  std::string got = one->readSome();
  EXPECT_EQ(got.find("HTTP/1.1 200 "), 0u);
  server.onEngine([](FakeService& service) {
    for (auto& [hash, token] : service.tokens) token.revoked_at = WallTime();
  });
  got += one->readToEnd();
  EXPECT_FALSE(got.ends_with("\r\n0\r\n\r\n")) << "cut short, so that the client knows";
  EXPECT_LT(countOf(got, "\"attempt_id\""), kRows);
}

TEST_F(ApiHostile, WrongTokensAreSlowedDownPerPeer) {
  ApiServer server(folder_);
  std::string bytes;
  const std::string wrong = mintToken("admin", "x", AsioClock().wallNow()).text;
  for (int i = 0; i < 60; ++i) {
    bytes += std::string(kNobody) + "Authorization: Bearer " + wrong + "\r\n\r\n";
  }
  bytes += get(server, "/v1/hosts", kClose);
  const std::string answer = talk(server, bytes);
  EXPECT_GE(countOf(answer, "HTTP/1.1 401 "), 20u);
  EXPECT_GE(countOf(answer, "HTTP/1.1 429 "), 1u);
  EXPECT_EQ(countOf(answer, "HTTP/1.1 429 "), countOf(answer, "Retry-After: "));
  EXPECT_EQ(countOf(answer, "HTTP/1.1 200 "), 1u) << "a good token from there is not hit";
}

TEST_F(ApiHostile, AClientThatDoesNotReadItsEventsIsCut) {
  ApiServer server(folder_, [](ApiOptions& options) { options.http.write_timeout = seconds(1); });
  server.onEngine([](FakeService& service) { service.tell(everything()); });
  const auto one = peer(server);
  one->send(get(server, "/v1/events"));
  while (server.onEngine([](FakeService& service) { return *service.watching; }) == 0) {
    std::this_thread::yield();
  }
  // More than all buffers between us hold, so that the stream stands still.
  int round = 0;
  while (server.onEngine([](FakeService& service) { return *service.watching; }) != 0) {
    server.onEngine([&round](FakeService& service) {
      EventBatch batch;
      for (int i = 0; i < 500; ++i) {
        VmEvent vm;
        vm.vm.uuid.bytes[14] = static_cast<std::uint8_t>(i >> 8);
        vm.vm.uuid.bytes[15] = static_cast<std::uint8_t>(i);
        vm.vm_name = std::string(200, 'x');
        vm.state = std::to_string(round);
        batch.vms.push_back(std::move(vm));
      }
      ++round;
      service.tell(std::move(batch));
    });
    expectServed(server);
  }
}

TEST_F(ApiHostile, AStreamEndsWhenItsTokenIsRevoked) {
  ApiServer server(folder_, [](ApiOptions& options) { options.token_check = milliseconds(50); });
  server.onEngine([](FakeService& service) { service.tell(everything()); });
  const auto admin = peer(server);
  const std::string body = R"({"role": "viewer"})";
  const std::string authorization = "Authorization: Bearer " + server.token() + "\r\n";
  admin->send("POST /v1/tokens HTTP/1.1\r\nHost: x\r\n" + authorization +
              "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  const std::string made = admin->readSome();
  const auto field = [&made](const std::string& name) {
    const std::size_t begin = made.find("\"" + name + "\":\"") + name.size() + 4;
    return made.substr(begin, made.find('"', begin) - begin);
  };
  const auto watcher = peer(server);
  watcher->send(
      "GET /v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " +
      field("token") + "\r\n\r\n");
  std::string events;
  while (events.find("event: snapshot") == std::string::npos) {
    const std::string some = watcher->readSome();
    ASSERT_NE(some, "") << events;
    events += some;
  }
  admin->send("POST /v1/tokens/" + field("token_id") + ":revoke HTTP/1.1\r\nHost: x\r\n" +
              authorization + "\r\n");
  EXPECT_NE(admin->readSome().find("HTTP/1.1 200 "), std::string::npos);
  const std::string rest = watcher->readToEnd();
  EXPECT_NE(rest.find("event: closed"), std::string::npos) << rest;
  EXPECT_TRUE(rest.ends_with("0\r\n\r\n")) << "it ends in good order";
  awaitNoWatch(server);
}

TEST_F(ApiHostile, BodiesWhereNoneBelongAreNotRead) {
  ApiServer server(folder_);
  const auto one = peer(server);
  one->send("GET /v1/hosts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + server.token() +
            "\r\nContent-Length: 1000000\r\n\r\n");
  const std::string answer = one->readSome();
  EXPECT_EQ(answer.find("HTTP/1.1 400 "), 0u) << answer;
  EXPECT_NE(answer.find("takes no body"), std::string::npos) << answer;
}

TEST_F(ApiHostile, OnlyTheOneExpectationIsKnown) {
  ApiServer server(folder_);
  const std::string answer =
      talk(server,
           "POST /v1/requests HTTP/1.1\r\nHost: x\r\nExpect: coffee\r\nContent-Length: 2\r\n"
           "Authorization: Bearer " +
               server.token() + "\r\n\r\n{}");
  EXPECT_EQ(answer.find("HTTP/1.1 417 "), 0u) << answer;
}

}  // namespace
}  // namespace vms::runner::api
