#include <string>

#include "schema/base/task_group.h"
#include "tests/integration/transport_fixture.h"

namespace vms {
namespace {

/// Who may vanish, and when, with operations under way on the pool.
class TransportLifetime : public TransportTest {};

TEST_F(TransportLifetime, MayBeDestroyedWhileSendingAndReceiving) {
  listen();
  const std::string large = noise(9U << 20U, 9);
  for (int round = 0; round < 10; ++round) {
    run([&]() -> asio::awaitable<void> {
      Pair pair = co_await connectPair(dialOptions());
      TaskGroup group(io_.get_executor());
      for (Connection* const each : {pair.engine.get(), pair.agent.get()}) {
        group.spawn("reader", [each, &large]() -> asio::awaitable<void> {
          auto got = co_await each->receive();
          EXPECT_TRUE(!got || *got == large);
        });
        group.spawn("writer", [each, &large]() -> asio::awaitable<void> {
          auto sent = co_await each->send(large);
        });
      }
      group.spawn("destroyer", [&pair]() -> asio::awaitable<void> {
        pair.agent.reset();
        pair.engine.reset();
        co_return;
      });
      co_await group.join();
    });
  }
  expectServing();
}

TEST_F(TransportLifetime, ACancelledReceiveLosesNoMessage) {
  listen();
  run([&]() -> asio::awaitable<void> {
    Pair pair = co_await connectPair(dialOptions());
    TaskGroup group(io_.get_executor());
    bool returned = false;
    group.spawn("reader", [&]() -> asio::awaitable<void> {
      auto got = co_await pair.engine->receive();
      returned = true;
    });
    TaskGroup other(io_.get_executor());
    other.spawn("canceller", [&]() -> asio::awaitable<void> {
      group.cancel();
      co_return;
    });
    co_await group.join();
    co_await other.join();
    EXPECT_FALSE(returned);
    std::string text = "kept";
    auto sent = co_await pair.agent->send(std::move(text));
    EXPECT_TRUE(sent);
    auto got = co_await pair.engine->receive();
    EXPECT_TRUE(got && *got == "kept");
  });
}

TEST_F(TransportLifetime, OutlivesItsPool) {
  listen();
  Pair pair;
  std::unique_ptr<Dialer> dialing;
  run([&]() -> asio::awaitable<void> {
    pair = co_await connectPair(dialOptions());
    dialing = dialer(dialOptions());
    auto sent = co_await pair.engine->send(prose(8U << 20U));
    EXPECT_TRUE(sent);
  });
  pool_.reset();
  run([&]() -> asio::awaitable<void> {
    std::string text = "nobody listens";
    auto sent = co_await pair.engine->send(std::move(text));
    EXPECT_FALSE(sent);
    auto got = co_await pair.engine->receive();
    EXPECT_FALSE(got);
    EXPECT_EQ(got.error().error_class, ErrorClass::Unavailable);
    pair.engine->close();
    listener_->close();
    auto accepted = co_await listener_->accept();
    EXPECT_FALSE(accepted);
  });
}

TEST_F(TransportLifetime, OwnerMayVanishWithEverythingUnderWay) {
  listen();
  const std::string text = prose(100000);
  for (int round = 0; round < 5; ++round) {
    asio::io_context owner(1);
    auto listener = listenWebSocket(owner.get_executor(), *pool_, listenOptions());
    ASSERT_TRUE(listener);
    DialOptions options = dialOptions();
    options.address = (*listener)->boundAddress();
    const auto dialing = makeWebSocketDialer(owner.get_executor(), *pool_, options);
    TaskGroup group(owner.get_executor());
    bool connected = false;
    group.spawn("agent", [&]() -> asio::awaitable<void> {
      auto connection = co_await dialing->connect();
      if (!connection) co_return;
      connected = true;
      auto sent = co_await (*connection)->send(text);
      for (;;) {
        auto got = co_await (*connection)->receive();
        if (!got) co_return;
      }
    });
    group.spawn("engine", [&]() -> asio::awaitable<void> {
      auto connection = co_await (*listener)->accept();
      if (!connection) co_return;
      for (;;) {
        auto sent = co_await (*connection)->send(text);
        if (!sent) co_return;
      }
    });
    // As a crash in the simulator: suspended coroutines go with their context.
    for (int step = 0; step < 2 + round && !connected; ++step) owner.run_one();
  }
  expectServing();
}

}  // namespace
}  // namespace vms
