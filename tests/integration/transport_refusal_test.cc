#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <vector>

#include "schema/base/task_group.h"
#include "tests/integration/tls_peer.h"
#include "tests/integration/transport_fixture.h"

namespace vms {
namespace {

/// Everybody whom the listener turns away, and what it and they get to know.
class TransportRefusal : public TransportTest {
 protected:
  TransportRefusal() { std::signal(SIGPIPE, SIG_IGN); }

  /// Lines of the log that report a refusal.
  static std::vector<std::string> refusals(const std::string& log) {
    std::vector<std::string> found;
    std::size_t from = 0;
    for (;;) {
      const std::size_t at = log.find("refused connection from", from);
      if (at == std::string::npos) return found;
      from = log.find('\n', at);
      found.push_back(log.substr(at, from - at));
    }
  }

  /// The peer may learn of its refusal before the listener's thread has logged it; stderr is a file
  /// while it is captured.
  static void awaitLogLine() {
    struct stat file {};
    for (int waited_ms = 0; waited_ms < 10'000; ++waited_ms) {
      if (::fstat(STDERR_FILENO, &file) == 0 && file.st_size > 0) return;
      ::poll(nullptr, 0, 1);
    }
  }

  /// Runs `misbehave`, then checks that the listener goes on and logged exactly one line with
  /// `reason`.
  void expectOneRefusal(const std::string& reason, const std::function<void()>& misbehave) {
    testing::internal::CaptureStderr();
    misbehave();
    expectServing();
    awaitLogLine();
    const std::string log = testing::internal::GetCapturedStderr();
    const auto lines = refusals(log);
    ASSERT_EQ(lines.size(), 1U) << log;
    EXPECT_NE(lines[0].find(reason), std::string::npos) << lines[0];
    EXPECT_NE(lines[0].find("127.0.0.1:"), std::string::npos) << lines[0];
  }

  void expectUnauthenticated(const Error& error, const std::string& part) {
    EXPECT_EQ(error.error_class, ErrorClass::Unauthenticated) << error.message;
    EXPECT_NE(error.message.find(part), std::string::npos) << error.message;
    EXPECT_NE(error.message.find(listener_->boundAddress()), std::string::npos) << error.message;
  }

  static constexpr char kUpgrade[] =
      "GET /agent HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
      "Sec-WebSocket-Protocol: vmsrunner.agent.v1\r\n\r\n";
};

TEST_F(TransportRefusal, ClientOfAnUnknownCa) {
  listen();
  ASSERT_TRUE(initCa(folder_ / "other"));
  ASSERT_TRUE(issueHost(folder_ / "other", "h1"));
  DialOptions options = dialOptions();
  options.tls.certificate = folder_ / "other" / "h1.crt";
  options.tls.key = folder_ / "other" / "h1.key";
  expectOneRefusal("unable to get local issuer certificate", [&] {
    const Error error = failToConnect(options);
    expectUnauthenticated(error, "refused our certificate " + options.tls.certificate.string());
    EXPECT_NE(error.message.find("its CA is not trusted there"), std::string::npos);
  });
}

TEST_F(TransportRefusal, ServerOfAnUnknownCa) {
  listen();
  ASSERT_TRUE(initCa(folder_ / "other"));
  DialOptions options = dialOptions();
  options.tls.ca = folder_ / "other" / "ca.crt";
  expectOneRefusal("refused our certificate", [&] {
    expectUnauthenticated(failToConnect(options), "we refuse the engine at");
  });
}

TEST_F(TransportRefusal, ExpiredClient) {
  listen();
  ASSERT_TRUE(issueHost(folder_, "old", -1));
  expectOneRefusal("certificate of 'old' refused: certificate has expired", [&] {
    expectUnauthenticated(failToConnect(dialOptions("old")), "it has expired");
  });
}

TEST_F(TransportRefusal, ExpiredServer) {
  ASSERT_TRUE(issueServer(folder_, "old", 0));
  ListenOptions options = listenOptions();
  options.tls = files("old");
  listen(options);
  const Error error = failToConnect(dialOptions());
  expectUnauthenticated(error, "certificate of 'old' refused: certificate has expired");
}

TEST_F(TransportRefusal, ServerOfAnotherName) {
  listen();
  DialOptions options = dialOptions();
  options.server_name = "other.example";
  expectUnauthenticated(failToConnect(options), "hostname mismatch");
  options.server_name = "192.0.2.1";
  expectUnauthenticated(failToConnect(options), "IP address mismatch");
  options.server_name = "engine";
  run([&]() -> asio::awaitable<void> {
    Pair pair = co_await connectPair(options);
    EXPECT_EQ(pair.engine->peer().common_name, "h1");
  });
}

TEST_F(TransportRefusal, ServerCertificateUsedByAClient) {
  listen();
  expectOneRefusal("purpose", [&] {
    EXPECT_EQ(failToConnect(dialOptions("engine")).error_class, ErrorClass::Unauthenticated);
  });
}

TEST_F(TransportRefusal, ClientWithoutACertificate) {
  listen();
  expectOneRefusal("the peer has no client certificate", [&] {
    RawPeer peer(listener_->boundAddress());
    peer.startTls({});
    EXPECT_EQ(peer.readToEnd(), "");
    EXPECT_EQ(peer.failure(), "none was presented");
  });
}

TEST_F(TransportRefusal, OldTls) {
  listen();
  expectOneRefusal("the peer does not speak TLS 1.3", [&] {
    RawPeer peer(listener_->boundAddress());
    EXPECT_FALSE(peer.startTls({files("h1"), TLS1_2_VERSION}));
  });
}

TEST_F(TransportRefusal, Garbage) {
  listen();
  expectOneRefusal("", [&] {
    RawPeer peer(listener_->boundAddress());
    peer.sendPlain(std::string(10000, '\x16'));
    peer.readPlainToEnd();
  });
  expectOneRefusal("plain HTTP", [&] {
    RawPeer peer(listener_->boundAddress());
    peer.sendPlain("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    peer.readPlainToEnd();
  });
}

TEST_F(TransportRefusal, HalfOpenHandshake) {
  ListenOptions options = listenOptions();
  options.handshake_timeout = milliseconds(100);
  listen(options);
  testing::internal::CaptureStderr();
  RawPeer silent(listener_->boundAddress());
  EXPECT_EQ(silent.readPlainToEnd(), "");
  RawPeer slow(listener_->boundAddress());
  if (slow.startTls({files("h1")})) slow.readToEnd();
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("the handshake took too long"), std::string::npos) << log;
}

TEST_F(TransportRefusal, StalledHandshakesDoNotKeepOthersOut) {
  ListenOptions options = listenOptions();
  options.handshake_timeout = seconds(3600);
  options.max_handshakes = 2;
  listen(options);
  const RawPeer first(listener_->boundAddress());
  const RawPeer second(listener_->boundAddress());
  expectServing();
}

TEST_F(TransportRefusal, TooManyConnections) {
  ListenOptions options = listenOptions();
  options.max_connections = 1;
  listen(options);
  run([&]() -> asio::awaitable<void> {
    Pair pair = co_await connectPair(dialOptions());
    const auto dialing = dialer(dialOptions("h2"));
    auto refused = co_await dialing->connect();
    EXPECT_FALSE(refused);
    EXPECT_EQ(refused.error().error_class, ErrorClass::Unavailable);
  });
}

TEST_F(TransportRefusal, OtherRequests) {
  listen();
  expectOneRefusal("'h1' asked for something else: only /agent", [&] {
    RawPeer peer(listener_->boundAddress());
    ASSERT_TRUE(peer.startTls({files("h1")}));
    peer.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(peer.readToEnd().starts_with("HTTP/1.1 404 "));
  });
  expectOneRefusal("only agents of this version", [&] {
    RawPeer peer(listener_->boundAddress());
    ASSERT_TRUE(peer.startTls({files("h1")}));
    peer.send("GET /agent HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(peer.readToEnd().starts_with("HTTP/1.1 426 "));
  });
  expectOneRefusal("'h1' sent no usable request", [&] {
    RawPeer peer(listener_->boundAddress());
    ASSERT_TRUE(peer.startTls({files("h1")}));
    peer.send("GET /agent HTTP/1.1\r\nX: " + std::string(10000, 'x') + "\r\n\r\n");
    peer.readToEnd();
  });
}

TEST_F(TransportRefusal, TextMessages) {
  listen();
  RawPeer peer(listener_->boundAddress());
  ASSERT_TRUE(peer.startTls({files("h1")}));
  peer.send(kUpgrade);
  EXPECT_TRUE(peer.readSome().starts_with("HTTP/1.1 101 "));
  peer.send(std::string("\x81\x82\0\0\0\0hi", 8));
  run([&]() -> asio::awaitable<void> {
    auto connection = co_await listener_->accept();
    EXPECT_TRUE(connection);
    auto got = co_await (*connection)->receive();
    EXPECT_FALSE(got);
    EXPECT_NE(got.error().message.find("text message"), std::string::npos) << got.error().message;
  });
}

TEST_F(TransportRefusal, PeerThatFallsSilent) {
  ListenOptions options = listenOptions();
  options.dead_after = milliseconds(200);
  listen(options);
  RawPeer peer(listener_->boundAddress());
  ASSERT_TRUE(peer.startTls({files("h1")}));
  peer.send(kUpgrade);
  EXPECT_TRUE(peer.readSome().starts_with("HTTP/1.1 101 "));
  run([&]() -> asio::awaitable<void> {
    auto connection = co_await listener_->accept();
    EXPECT_TRUE(connection);
    auto got = co_await (*connection)->receive();
    EXPECT_FALSE(got);
    EXPECT_NE(got.error().message.find("no sign of life"), std::string::npos)
        << got.error().message;
  });
  EXPECT_EQ(peer.readSome().substr(0, 1), "\x89");  // it was pinged
}

TEST_F(TransportRefusal, LogIsBounded) {
  listen();
  testing::internal::CaptureStderr();
  for (int i = 0; i < 100; ++i) {
    RawPeer peer(listener_->boundAddress());
    peer.sendPlain("garbage");
    peer.sendPlain(std::string(100, 'x'));
    peer.readPlainToEnd();
  }
  expectServing();
  const auto lines = refusals(testing::internal::GetCapturedStderr());
  EXPECT_GE(lines.size(), 10U);
  EXPECT_LT(lines.size(), 100U);
}

TEST_F(TransportRefusal, NobodyListens) {
  listen();
  const DialOptions options = dialOptions();
  listener_.reset();
  // The port is closed once the acceptor's strand has run; until then the backlog accepts.
  Error error;
  do {
    error = failToConnect(options);
    EXPECT_EQ(error.error_class, ErrorClass::Unavailable) << error.message;
  } while (error.message.find("connection refused; is vmsrunnerd running?") == std::string::npos);
  EXPECT_NE(error.message.find(options.address), std::string::npos);
}

TEST_F(TransportRefusal, EngineThatIsNone) {
  listen();
  DialOptions options = dialOptions();
  options.address = "no port";
  EXPECT_EQ(failToConnect(options).error_class, ErrorClass::Invalid);
  options = dialOptions();
  options.tls.key = folder_ / "absent.key";
  const Error error = failToConnect(options);
  EXPECT_EQ(error.error_class, ErrorClass::Invalid);
  EXPECT_NE(error.message.find("absent.key"), std::string::npos);
}

TEST_F(TransportRefusal, DialingGivesUpAfterItsTimeOut) {
  ListenOptions listening = listenOptions();
  listening.max_handshakes = 1;
  listening.handshake_timeout = seconds(3600);
  listen(listening);
  const RawPeer stalled(listener_->boundAddress());
  DialOptions options = dialOptions();
  options.connect_timeout = milliseconds(1);
  const Error error = failToConnect(options);
  EXPECT_EQ(error.error_class, ErrorClass::Unavailable);
  EXPECT_NE(error.message.find("no answer within 1ms"), std::string::npos) << error.message;
}

TEST_F(TransportRefusal, ACancelledConnectLeavesNothing) {
  listen();
  run([&]() -> asio::awaitable<void> {
    for (int i = 0; i < 20; ++i) {
      TaskGroup group(io_.get_executor());
      group.spawn("dial", [&]() -> asio::awaitable<void> {
        const auto dialing = dialer(dialOptions());
        auto connection = co_await dialing->connect();
        if (!connection) co_return;
        auto got = co_await (*connection)->receive();
      });
      TaskGroup canceller(io_.get_executor());
      canceller.spawn("cancel", [&group]() -> asio::awaitable<void> {
        group.cancel();
        co_return;
      });
      co_await canceller.join();
      co_await group.join();
    }
  });
  expectServing();
}

TEST_F(TransportRefusal, ListeningNamesWhatIsWrong) {
  listen();
  ListenOptions options = listenOptions();
  options.address = listener_->boundAddress();
  auto again = listenWebSocket(io_.get_executor(), *pool_, options);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().error_class, ErrorClass::Unavailable);
  EXPECT_NE(again.error().message.find(options.address), std::string::npos);
  EXPECT_NE(again.error().message.find("in use"), std::string::npos) << again.error().message;

  options = listenOptions();
  options.tls.ca.clear();
  EXPECT_EQ(listenWebSocket(io_.get_executor(), *pool_, options).error().error_class,
            ErrorClass::Invalid);
}

TEST_F(TransportRefusal, ReloadTakesNewCertificatesAndKeepsOldOnesOnFailure) {
  ListenOptions options = listenOptions();
  ASSERT_TRUE(issueServer(folder_, "live"));
  options.tls = files("live");
  listen(options);
  const auto serverName = [&] {
    std::string name;
    run([&]() -> asio::awaitable<void> {
      Pair pair = co_await connectPair(dialOptions());
      name = pair.agent->peer().common_name;
    });
    return name;
  };
  EXPECT_EQ(serverName(), "live");

  std::filesystem::rename(folder_ / "live.key", folder_ / "away.key");
  const auto failed = listener_->reload();
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message.find("live.key"), std::string::npos);
  EXPECT_EQ(serverName(), "live");

  std::filesystem::copy_file(folder_ / "engine.key", folder_ / "live.key");
  std::filesystem::copy_file(folder_ / "engine.crt", folder_ / "live.crt",
                             std::filesystem::copy_options::overwrite_existing);
  ASSERT_TRUE(listener_->reload());
  EXPECT_EQ(serverName(), "engine");
}

}  // namespace
}  // namespace vms
