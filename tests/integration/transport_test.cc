#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <map>
#include <vector>

#include "schema/base/asio_clock.h"
#include "schema/base/task_group.h"
#include "tests/integration/transport_fixture.h"

namespace vms {
namespace {

asio::awaitable<void> echo(Connection* connection, int messages) {
  for (int i = 0; i < messages; ++i) {
    auto message = co_await connection->receive();
    if (!message) co_return;
    auto sent = co_await connection->send(std::move(*message));
    if (!sent) co_return;
  }
}

asio::awaitable<void> sendAll(Connection* connection, std::vector<std::string> messages) {
  for (std::string& message : messages) {
    auto sent = co_await connection->send(std::move(message));
    EXPECT_TRUE(sent) << sent.error().message;
  }
}

TEST_F(TransportTest, CarriesMessagesOfAllSizesBothWaysInOrder) {
  listen();
  std::vector<std::string> messages;
  for (const std::size_t size :
       {1U, 2U, 125U, 126U, 4095U, 4096U, 8192U, 65535U, 65536U, 100000U, 1U << 20U, 8U << 20U}) {
    messages.push_back(prose(size));
    if (size <= 1U << 20U) messages.push_back(noise(size, size));
    messages.push_back("after " + std::to_string(size));
  }
  run([&]() -> asio::awaitable<void> {
    Pair pair = co_await connectPair(dialOptions());
    EXPECT_EQ(pair.engine->peer().common_name, "h1");
    EXPECT_EQ(pair.agent->peer().common_name, "engine");
    TaskGroup group(io_.get_executor());
    const auto count = static_cast<int>(messages.size());
    group.spawn("echo", [&pair, count] { return echo(pair.engine.get(), count); });
    group.spawn("send", [&pair, &messages] { return sendAll(pair.agent.get(), messages); });
    for (const std::string& expected : messages) {
      auto got = co_await pair.agent->receive();
      EXPECT_TRUE(got) << got.error().message;
      if (!got) break;
      EXPECT_TRUE(*got == expected) << expected.size();
    }
    co_await group.join();
  });
}

TEST_F(TransportTest, SurvivesManySmallMessagesWithASlowReader) {
  listen();
  constexpr int kMessages = 20000;
  run([&]() -> asio::awaitable<void> {
    Pair pair = co_await connectPair(dialOptions());
    std::vector<std::string> messages;
    for (int i = 0; i < kMessages; ++i) messages.push_back(std::to_string(i));
    TaskGroup group(io_.get_executor());
    group.spawn("send", [&pair, &messages] { return sendAll(pair.engine.get(), messages); });
    for (int i = 0; i < kMessages; ++i) {
      auto got = co_await pair.agent->receive();
      EXPECT_TRUE(got) << got.error().message;
      if (!got) break;
      EXPECT_EQ(*got, std::to_string(i));
    }
    co_await group.join();
  });
}

TEST_F(TransportTest, RefusesToSendWhatIsTooLargeAndGoesOn) {
  ListenOptions options = listenOptions();
  options.limits.max_send_bytes = 100;
  listen(options);
  run([&]() -> asio::awaitable<void> {
    Pair pair = co_await connectPair(dialOptions());
    auto sent = co_await pair.engine->send(prose(101));
    EXPECT_FALSE(sent);
    EXPECT_EQ(sent.error().error_class, ErrorClass::TooLarge);
    auto small = co_await pair.engine->send(prose(100));
    EXPECT_TRUE(small);
    auto got = co_await pair.agent->receive();
    EXPECT_TRUE(got && got->size() == 100U);
  });
}

class TransportLimit : public TransportTest, public testing::WithParamInterface<bool> {};

TEST_P(TransportLimit, ClosesOnAMessageThatIsTooLargeAfterInflation) {
  ListenOptions options = listenOptions();
  options.limits.max_receive_bytes = 1U << 20U;
  listen(options);
  run([&]() -> asio::awaitable<void> {
    Pair pair = co_await connectPair(dialOptions());
    // The second is a few kilobytes on the wire.
    const std::string message =
        GetParam() ? noise((1U << 20U) + 1, 1) : std::string(16U << 20U, 'x');
    auto sent = co_await pair.agent->send(message);
    auto got = co_await pair.engine->receive();
    EXPECT_FALSE(got);
    EXPECT_EQ(got.error().error_class, ErrorClass::Unavailable);
    EXPECT_NE(got.error().message.find("over the limit of 1048576 bytes"), std::string::npos)
        << got.error().message;
    auto other_side = co_await pair.agent->receive();
    EXPECT_FALSE(other_side);
  });
  expectServing();
}

INSTANTIATE_TEST_SUITE_P(PlainAndCompressed, TransportLimit, testing::Bool());

TEST_F(TransportTest, CutsAPeerThatNeverReads) {
  ListenOptions options = listenOptions();
  options.limits.max_queue_bytes = 1U << 20U;
  options.dead_after = milliseconds(400);
  listen(options);
  DialOptions dial = dialOptions();
  dial.limits.read_ahead_messages = 1;
  run([&]() -> asio::awaitable<void> {
    Pair pair = co_await connectPair(dial);
    Result<void> sent;
    int messages = 0;
    while (sent && messages < 1000) {
      std::string message = noise(256U << 10U, 7);
      sent = co_await pair.engine->send(std::move(message));
      ++messages;
    }
    EXPECT_FALSE(sent);
    if (sent) co_return;
    EXPECT_EQ(sent.error().error_class, ErrorClass::RateLimited);
    EXPECT_NE(sent.error().message.find("does not read"), std::string::npos)
        << sent.error().message;
    std::string more = "more";
    auto later = co_await pair.engine->send(std::move(more));
    EXPECT_FALSE(later);
    auto got = co_await pair.engine->receive();
    EXPECT_FALSE(got);
    EXPECT_EQ(got.error().error_class, ErrorClass::Unavailable);
  });
}

TEST_F(TransportTest, OverflowsWhenManySendersDoNotWait) {
  ListenOptions options = listenOptions();
  options.limits.max_queue_bytes = 1U << 20U;
  listen(options);
  DialOptions dial = dialOptions();
  dial.limits.read_ahead_messages = 1;
  std::map<ErrorClass, int> errors;
  int succeeded = 0;
  run([&]() -> asio::awaitable<void> {
    Pair pair = co_await connectPair(dial);
    TaskGroup group(io_.get_executor());
    const std::string message = noise(256U << 10U, 7);
    for (int i = 0; i < 400; ++i) {
      group.spawn("sender", [&]() -> asio::awaitable<void> {
        auto sent = co_await pair.engine->send(message);
        if (sent) ++succeeded;
        if (!sent) ++errors[sent.error().error_class];
      });
    }
    co_await group.join();
  });
  EXPECT_GE(errors[ErrorClass::RateLimited], 1);
  EXPECT_LT(succeeded, 400);
}

TEST_F(TransportTest, CloseEndsAPendingReceiveOnBothSides) {
  listen();
  run([&]() -> asio::awaitable<void> {
    Pair pair = co_await connectPair(dialOptions());
    int ended = 0;
    TaskGroup group(io_.get_executor());
    for (Connection* const each : {pair.engine.get(), pair.agent.get()}) {
      group.spawn("reader", [each, &ended]() -> asio::awaitable<void> {
        auto got = co_await each->receive();
        EXPECT_FALSE(got);
        EXPECT_EQ(got.error().error_class, ErrorClass::Unavailable);
        ++ended;
      });
    }
    group.spawn("closer", [&pair]() -> asio::awaitable<void> {
      pair.agent->close();
      pair.agent->close();
      co_return;
    });
    co_await group.join();
    EXPECT_EQ(ended, 2);
    std::string late = "late";
    auto sent = co_await pair.agent->send(std::move(late));
    EXPECT_FALSE(sent);
    EXPECT_EQ(sent.error().error_class, ErrorClass::Unavailable);
  });
}

TEST_F(TransportTest, WhatWasSentBeforeCloseArrives) {
  listen();
  run([&]() -> asio::awaitable<void> {
    Pair pair = co_await connectPair(dialOptions());
    auto sent = co_await pair.engine->send(prose(3U << 20U));
    EXPECT_TRUE(sent);
    std::string reason = "go away";
    auto last = co_await pair.engine->send(std::move(reason));
    EXPECT_TRUE(last);
    pair.engine.reset();
    auto first = co_await pair.agent->receive();
    EXPECT_TRUE(first);
    auto second = co_await pair.agent->receive();
    EXPECT_TRUE(second && *second == "go away");
    auto end = co_await pair.agent->receive();
    EXPECT_FALSE(end);
    EXPECT_NE(end.error().message.find("closed by the peer"), std::string::npos)
        << end.error().message;
  });
}

TEST_F(TransportTest, KeepsAnIdleConnectionAlive) {
  ListenOptions options = listenOptions();
  options.dead_after = seconds(2);
  listen(options);
  DialOptions dial = dialOptions();
  dial.dead_after = seconds(2);
  run([&]() -> asio::awaitable<void> {
    Pair pair = co_await connectPair(dial);
    AsioClock clock;
    co_await clock.sleepFor(milliseconds(4500));
    std::string text = "awake";
    auto sent = co_await pair.agent->send(std::move(text));
    EXPECT_TRUE(sent) << sent.error().message;
    auto got = co_await pair.engine->receive();
    EXPECT_TRUE(got) << got.error().message;
  });
}

TEST_F(TransportTest, ServesTwoHundredConnectionsAtOnce) {
  listen();
  constexpr int kConnections = 200;
  int done = 0;
  run([&]() -> asio::awaitable<void> {
    TaskGroup group(io_.get_executor());
    std::vector<std::unique_ptr<Connection>> engines;
    for (int i = 0; i < kConnections; ++i) {
      group.spawn("agent", [&, i]() -> asio::awaitable<void> {
        const auto dialing = dialer(dialOptions());
        auto connection = co_await dialing->connect();
        EXPECT_TRUE(connection) << connection.error().message;
        if (!connection) {
          listener_->close();
          co_return;
        }
        const std::string message = prose(static_cast<std::size_t>(1000 + 100 * i));
        auto sent = co_await (*connection)->send(message);
        EXPECT_TRUE(sent);
        auto got = co_await (*connection)->receive();
        EXPECT_TRUE(got && *got == message);
        ++done;
      });
    }
    TaskGroup echoes(io_.get_executor());
    for (int i = 0; i < kConnections; ++i) {
      auto engine = co_await listener_->accept();
      EXPECT_TRUE(engine);
      if (!engine) break;
      engines.push_back(std::move(*engine));
      echoes.spawn("engine", [one = engines.back().get()] { return echo(one, 1); });
    }
    co_await group.join();
    co_await echoes.join();
  });
  EXPECT_EQ(done, kConnections);
}

}  // namespace
}  // namespace vms
