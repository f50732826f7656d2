#include <gtest/gtest.h>

#include "tests/integration/api_peer.h"

namespace vms::runner::api {
namespace {

TEST_F(ApiHttp, AnswersOverTls) {
  ApiServer server(folder_);
  const std::string answer = talk(server, get(server, "/v1/hosts", kClose));
  EXPECT_EQ(answer.find("HTTP/1.1 200 OK\r\n"), 0u) << answer;
  EXPECT_TRUE(answer.ends_with("{\"hosts\":[]}\n")) << answer;
}

TEST_F(ApiHttp, KeepsTheConnectionAndTheOrderOfPipelinedRequests) {
  ApiServer server(folder_);
  std::string bytes;
  for (int i = 0; i < 20; ++i) bytes += get(server, "/v1/vms/x" + std::to_string(i));
  bytes += "POST /v1/vms:stop HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
  bytes += get(server, "/healthz", kClose);
  const std::string answer = talk(server, bytes);
  std::size_t at = 0;
  for (int i = 0; i < 20; ++i) {
    at = answer.find("\"/v1/vms/x" + std::to_string(i) + "\"", at);
    ASSERT_NE(at, std::string::npos) << i;
  }
  EXPECT_EQ(countOf(answer, "HTTP/1.1 "), 22u - 1u) << "a refused body ends the connection";
}

TEST_F(ApiHttp, HeadHasNoBodyAndTheConnectionGoesOn) {
  ApiServer server(folder_);
  std::string head = get(server, "/healthz");
  head.replace(0, 3, "HEAD");
  const std::string answer = talk(server, head + get(server, "/readyz", kClose));
  EXPECT_EQ(countOf(answer, "HTTP/1.1 200"), 2u) << answer;
  EXPECT_EQ(answer.find("ok\n"), std::string::npos);
  EXPECT_NE(answer.find("ready\n"), std::string::npos);
}

TEST_F(ApiHttp, ARefusalAfterAHeadHasItsBody) {
  ApiServer server(folder_);
  std::string head = get(server, "/healthz");
  head.replace(0, 3, "HEAD");
  const std::string answer = talk(server, head + "garbage\r\n\r\n");
  EXPECT_NE(answer.find("HTTP/1.1 400 "), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("}\n")) << answer;
}

TEST_F(ApiHttp, RefusesWhatIsNoHttp) {
  ApiServer server(folder_);
  EXPECT_EQ(talk(server, "garbage\r\n\r\n").find("HTTP/1.1 400 "), 0u);
  EXPECT_EQ(talk(server, std::string(300, '\x01') + "\r\n\r\n").find("HTTP/1.1 400 "), 0u);
  EXPECT_EQ(talk(server, "GET /healthz HTTP/1.1\r\n\r\n").find("HTTP/1.1 400 "), 0u);
  EXPECT_EQ(talk(server, "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n").find("HTTP/1.1 400 "), 0u);
  EXPECT_EQ(talk(server,
                 "POST /v1/vms HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
                 "Content-Length: 2\r\n\r\nxx")
                .find("HTTP/1.1 400 "),
            0u);
  // And garbage instead of TLS.
  RawPeer plain(server.address());
  plain.sendPlain("GET / HTTP/1.1\r\n\r\n");
  plain.readPlainToEnd();
  EXPECT_EQ(talk(server, get(server, "/healthz", kClose)).find("HTTP/1.1 200 "), 0u);
}

TEST_F(ApiHttp, BoundsHeadersAndBodies) {
  ApiServer server(folder_, [](ApiOptions& options) { options.http.body_bytes = 1000; });
  const std::string auth = "Authorization: Bearer " + server.token() + "\r\n";
  EXPECT_EQ(talk(server, get(server, "/healthz", "X: " + std::string(20'000, 'x') + "\r\n"))
                .find("HTTP/1.1 431 "),
            0u);
  const std::string post = "POST /v1/requests HTTP/1.1\r\nHost: x\r\n" + auth;
  const std::string large =
      talk(server, post + "Content-Length: 100000\r\n\r\n" + std::string(100'000, 'x'));
  EXPECT_EQ(large.find("HTTP/1.1 413 "), 0u) << large;
  EXPECT_NE(large.find("\"error_class\":\"too_large\""), std::string::npos);
  std::string chunked = post + "Transfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 20; ++i) chunked += "64\r\n" + std::string(100, 'x') + "\r\n";
  EXPECT_EQ(talk(server, chunked).find("HTTP/1.1 413 "), 0u);
}

TEST_F(ApiHttp, ReadsNoBodyOfStrangers) {
  ApiServer server(folder_);
  const auto one = peer(server);
  one->send("POST /v1/requests HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
  EXPECT_EQ(one->readSome().find("HTTP/1.1 401 "), 0u);
}

TEST_F(ApiHttp, GoesOnWith100Continue) {
  ApiServer server(folder_);
  const auto one = peer(server);
  one->send(
      "POST /v1/requests HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
      "Content-Length: 13\r\nAuthorization: Bearer " +
      server.token() + "\r\n\r\n");
  EXPECT_EQ(one->readSome(), "HTTP/1.1 100 Continue\r\n\r\n");
  one->send("{\"all\": true}");
  EXPECT_EQ(one->readToEnd().find("HTTP/1.1 202 "), 0u);
}

TEST_F(ApiHttp, TellsConnectionsBeyondTheLimit) {
  ApiServer server(folder_, [](ApiOptions& options) { options.http.connections = 2; });
  const auto first = peer(server);
  const auto second = peer(server);
  for (RawPeer* one : {first.get(), second.get()}) {
    one->send(get(server, "/v1/hosts"));
    EXPECT_EQ(one->readSome().find("HTTP/1.1 200 "), 0u);
  }
  const std::string refused = talk(server, get(server, "/healthz"));
  EXPECT_EQ(refused.find("HTTP/1.1 503 "), 0u) << refused;
  EXPECT_NE(refused.find("Retry-After: 1"), std::string::npos);
  first->send(get(server, "/healthz", kClose));
  EXPECT_EQ(first->readToEnd().find("HTTP/1.1 200 "), 0u);
}

TEST_F(ApiHttp, AStopEndsStreamsAndLeavesNoWatch) {
  ApiServer server(folder_);
  const auto one = peer(server);
  one->send(
      "POST /v1/requests HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\nAuthorization: Bearer " +
      server.token() + "\r\n\r\n{\"all\": true}");
  const std::string made = one->readSome();
  const std::string id = made.substr(made.find("/v1/requests/") + 13, 36);
  one->send(get(server, "/v1/requests/" + id + "/events"));
  std::string events;
  while (events.find("event: snapshot") == std::string::npos) {
    const std::string some = one->readSome();
    ASSERT_NE(some, "") << events;
    events += some;
  }
  server.stop();
  EXPECT_EQ(one->readToEnd().find("0\r\n\r\n"), std::string::npos) << "it is not complete";
  EXPECT_EQ(server.onEngine([](FakeService& service) { return *service.watching; }), 0u);
}

TEST_F(ApiHttp, AClientThatVanishesEndsItsWatch) {
  ApiServer server(folder_, [](ApiOptions& options) { options.keepalive = milliseconds(10); });
  const RequestId id = server.onEngine([](FakeService& service) {
    service.addVm("web1");
    return RequestId();
  });
  (void)id;
  {
    const auto one = peer(server);
    one->send(
        "POST /v1/requests HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n"
        "Authorization: Bearer " +
        server.token() + "\r\n\r\n{\"all\": true}");
    const std::string made = one->readSome();
    one->send(get(server,
                  "/v1/requests/" + made.substr(made.find("/v1/requests/") + 13, 36) + "/events"));
    EXPECT_NE(one->readSome(), "");
  }
  // Bounded by the test's time-out.
  while (server.onEngine([](FakeService& service) { return *service.watching; }) != 0) {
    std::this_thread::yield();
  }
}

TEST_F(ApiHttp, NewConnectionsSeeTheReloadedCertificate) {
  ApiServer server(folder_);
  const auto before = peer(server);
  std::filesystem::copy_file(folder_.server().certificate, folder_ / "old.crt");
  std::ofstream(folder_.server().certificate) << "no certificate";
  const Result<void> bad = server.api().reloadCertificate();
  ASSERT_FALSE(bad);
  EXPECT_NE(bad.error().message.find(folder_.server().certificate.string()), std::string::npos);
  EXPECT_EQ(talk(server, get(server, "/healthz", kClose)).find("HTTP/1.1 200 "), 0u);
  issueServer(folder_ / "", "localhost", 10, Existing::Replace).value();
  EXPECT_TRUE(server.api().reloadCertificate());
  EXPECT_EQ(talk(server, get(server, "/healthz", kClose)).find("HTTP/1.1 200 "), 0u);
  before->send(get(server, "/healthz", kClose));
  EXPECT_EQ(before->readToEnd().find("HTTP/1.1 200 "), 0u);
}

TEST_F(ApiHttp, StartNamesWhatIsWrong) {
  asio::io_context io(1);
  AsioClock clock;
  FakeService service(io.get_executor());
  const auto startWith = [&](const std::function<void(HttpServerOptions&)>& change) {
    ApiOptions options;
    options.http.certificate_file = folder_.server().certificate;
    options.http.key_file = folder_.server().key;
    change(options.http);
    Api api(service, clock, io.get_executor(), io.get_executor(), options);
    return api.start();
  };
  ApiServer server(folder_);
  const auto taken = startWith([&](auto& http) { http.port = server.api().boundPort(); });
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().error_class, ErrorClass::Unavailable);
  const auto missing = startWith([](auto& http) { http.certificate_file = "/no/such.crt"; });
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("/no/such.crt"), std::string::npos);
  const auto mixed = startWith([&](auto& http) { http.key_file = folder_ / "ca.key"; });
  EXPECT_FALSE(mixed);
  EXPECT_FALSE(startWith([](auto& http) { http.address = "nowhere"; }));
}

}  // namespace
}  // namespace vms::runner::api
