#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "schema/base/pki.h"
#include "schema/base/rng.h"
#include "schema/base/transport.h"
#include "schema/base/websocket_transport.h"

namespace vms {

/// Does not compress.
inline std::string noise(std::size_t size, std::uint64_t seed) {
  Rng rng(seed);
  std::string text(size, '\0');
  std::uint64_t drawn = 0;
  for (std::size_t i = 0; i < size; ++i) {
    drawn = i % 8 == 0 ? rng.next() : drawn >> 8U;
    text[i] = static_cast<char>(drawn & 0xFFU);
  }
  return text;
}

/// Compresses well.
inline std::string prose(std::size_t size) {
  std::string text;
  while (text.size() < size) text += "<domain type='kvm'><name>vm" + std::to_string(text.size());
  text.resize(size);
  return text;
}

/// An owner thread (the test's), an I/O pool, and a folder of certificates: server "engine", hosts
/// "h1" and "h2".
class TransportTest : public testing::Test {
 protected:
  /// The machine may be slow; tests of time-outs choose their own.
  static constexpr Duration kNeverReached = seconds(300);

  TransportTest() {
    std::string name = (std::filesystem::temp_directory_path() / "vms-net-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    EXPECT_TRUE(initCa(folder_));
    EXPECT_TRUE(issueServer(folder_, "engine"));
    EXPECT_TRUE(issueHost(folder_, "h1"));
    EXPECT_TRUE(issueHost(folder_, "h2"));
  }
  ~TransportTest() override {
    listener_.reset();
    std::filesystem::remove_all(folder_);
  }

  TlsFiles files(const std::string& name) const {
    return {folder_ / (name + ".crt"), folder_ / (name + ".key"), folder_ / "ca.crt"};
  }

  ListenOptions listenOptions() const {
    ListenOptions options;
    options.address = "127.0.0.1:0";
    options.tls = files("engine");
    options.handshake_timeout = options.dead_after = kNeverReached;
    return options;
  }

  void listen(ListenOptions options) {
    auto listener = listenWebSocket(io_.get_executor(), *pool_, std::move(options));
    ASSERT_TRUE(listener) << listener.error().message;
    listener_ = std::move(*listener);
  }
  void listen() { listen(listenOptions()); }

  DialOptions dialOptions(const std::string& host = "h1") const {
    DialOptions options;
    options.address = listener_->boundAddress();
    options.tls = files(host);
    options.connect_timeout = options.dead_after = kNeverReached;
    return options;
  }

  std::unique_ptr<Dialer> dialer(DialOptions options) {
    return makeWebSocketDialer(io_.get_executor(), *pool_, std::move(options));
  }

  /// Runs `make()` on the owner thread until it ends.
  void run(std::function<asio::awaitable<void>()> make) {
    std::exception_ptr failure;
    bool ended = false;
    asio::co_spawn(io_, std::move(make), [&](std::exception_ptr error) {
      failure = std::move(error);
      ended = true;
      io_.stop();
    });
    io_.restart();
    io_.run();
    ASSERT_TRUE(ended);
    if (failure) std::rethrow_exception(failure);
  }

  struct Pair {
    std::unique_ptr<Connection> engine;
    std::unique_ptr<Connection> agent;
  };
  asio::awaitable<Pair> connectPair(DialOptions options) {
    const auto dialing = dialer(std::move(options));
    auto agent = co_await dialing->connect();
    EXPECT_TRUE(agent) << agent.error().message;
    auto engine = co_await listener_->accept();
    EXPECT_TRUE(engine) << engine.error().message;
    Pair pair;
    pair.engine = std::move(*engine);
    pair.agent = std::move(*agent);
    co_return pair;
  }

  /// The error of a connect() that must fail.
  Error failToConnect(DialOptions options) {
    Error error;
    run([this, &options, &error]() -> asio::awaitable<void> {
      const auto dialing = dialer(std::move(options));
      auto connection = co_await dialing->connect();
      EXPECT_FALSE(connection);
      if (!connection) error = connection.error();
    });
    return error;
  }

  /// The listener serves whoever is in order.
  void expectServing() {
    run([this]() -> asio::awaitable<void> {
      Pair pair = co_await connectPair(dialOptions("h2"));
      // Others may have connected and gone before.
      while (pair.engine->peer().common_name != "h2") {
        auto next = co_await listener_->accept();
        EXPECT_TRUE(next);
        if (!next) co_return;
        pair.engine = std::move(*next);
      }
      std::string text = "still here";
      auto sent = co_await pair.agent->send(std::move(text));
      EXPECT_TRUE(sent);
      auto got = co_await pair.engine->receive();
      EXPECT_TRUE(got && *got == "still here");
    });
  }

  std::filesystem::path folder_;
  // In this order the pool ends before the owner's context, which must be harmless.
  asio::io_context io_{1};
  std::unique_ptr<IoThreads> pool_ = std::make_unique<IoThreads>("test-io", 2);
  std::unique_ptr<WebSocketListener> listener_;
};

}  // namespace vms
