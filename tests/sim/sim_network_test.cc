#include "tests/sim/sim_network.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "schema/base/task_group.h"

namespace vms::sim {
namespace {

struct Root {
  explicit Root(Process& process) : tasks(process.executor()) {}
  TaskGroup tasks;
};

/// An engine that records what it reads, and an agent that sends numbered messages.
class NetworkTest : public ::testing::Test {
 protected:
  NetworkTest()
      : world_(3),
        network_(world_),
        engine_(world_.addProcess("engine")),
        agent_(world_.addProcess("agent")) {}

  void startEngine() {
    engine_.start([this](Process& p) {
      auto root = std::make_shared<Root>(p);
      root->tasks.spawn("serve", [this, &p]() -> asio::awaitable<void> {
        const std::unique_ptr<Listener> listener = network_.listen(p);
        for (;;) {
          auto accepted = co_await listener->accept();
          if (!accepted) co_return;
          const std::unique_ptr<Connection> connection = std::move(*accepted);
          peers_.push_back(connection->peer().common_name);
          for (;;) {
            auto message = co_await connection->receive();
            if (!message) break;
            received_.push_back(*message);
          }
          ++ended_;
        }
      });
      return root;
    });
  }

  void startAgent(int count, Duration pause) {
    agent_.start([this, count, pause](Process& p) {
      auto root = std::make_shared<Root>(p);
      root->tasks.spawn("send", [this, &p, count, pause]() -> asio::awaitable<void> {
        const std::unique_ptr<Dialer> dialer = network_.dial(p, "h1", "h1");
        auto connected = co_await dialer->connect();
        connected_ = connected.has_value();
        if (!connected_) co_return;
        const std::unique_ptr<Connection> connection = std::move(*connected);
        for (int i = 0; i < count; ++i) {
          const auto sent = co_await connection->send(std::to_string(i));
          if (!sent) co_return;
          if (pause > Duration{}) co_await p.clock().sleepFor(pause);
        }
        auto end = co_await connection->receive();
        sender_saw_end_ = !end.has_value();
      });
      return root;
    });
  }

  World world_;
  Network network_;
  Process& engine_;
  Process& agent_;
  std::vector<std::string> peers_;
  std::vector<std::string> received_;
  int ended_ = 0;
  bool connected_ = false;
  bool sender_saw_end_ = false;
};

TEST_F(NetworkTest, DeliversInOrderUnderJitter) {
  network_.setQuality("h1", {milliseconds(1), milliseconds(50), 0, 0, 0, 0});
  startEngine();
  startAgent(100, Duration{});
  world_.runFor(seconds(10));
  ASSERT_EQ(received_.size(), 100U);
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(received_[i], std::to_string(i));
  EXPECT_EQ(peers_, std::vector<std::string>{"h1"});
}

TEST_F(NetworkTest, RefusesWithoutAListener) {
  startAgent(1, Duration{});
  world_.runFor(seconds(10));
  EXPECT_FALSE(connected_);
}

TEST_F(NetworkTest, CutDeliversAPrefixAndEndsBothSides) {
  network_.setQuality("h1", {milliseconds(10), milliseconds(10), 0, 0, 0, 0});
  startEngine();
  startAgent(1000, milliseconds(1));
  world_.in(milliseconds(300), [this]() { network_.cut("h1"); });
  world_.runFor(seconds(10));
  EXPECT_GT(received_.size(), 200U);
  EXPECT_LT(received_.size(), 300U);
  for (std::size_t i = 0; i < received_.size(); ++i) EXPECT_EQ(received_[i], std::to_string(i));
  EXPECT_EQ(ended_, 1);
}

TEST_F(NetworkTest, BlockedDirectionHoldsMessagesUntilOpen) {
  startEngine();
  startAgent(10, milliseconds(100));
  world_.runFor(milliseconds(250));
  const std::size_t before = received_.size();
  network_.setBlocked("h1", Direction::ToEngine, true);
  world_.runFor(seconds(5));
  EXPECT_EQ(received_.size(), before);
  network_.setBlocked("h1", Direction::ToEngine, false);
  world_.runFor(seconds(5));
  EXPECT_EQ(received_.size(), 10U);
}

TEST_F(NetworkTest, PeerOfACrashedProcessComesToAnEnd) {
  startEngine();
  startAgent(1, Duration{});
  world_.runFor(seconds(1));
  ASSERT_TRUE(connected_);
  engine_.crash();
  world_.runFor(seconds(1));
  EXPECT_TRUE(sender_saw_end_);
}

TEST_F(NetworkTest, PowerLossIsSilent) {
  startEngine();
  startAgent(1, Duration{});
  world_.runFor(seconds(1));
  network_.powerOff("h1");
  agent_.crash();
  world_.runFor(seconds(20));
  EXPECT_EQ(ended_, 0);
  world_.runFor(seconds(60));
  EXPECT_EQ(ended_, 1);
}

TEST_F(NetworkTest, HostileLinkRepeatsAndLoses) {
  network_.setQuality("h1", {milliseconds(1), milliseconds(5), 0, 0.2, 0.2, 0.2});
  startEngine();
  startAgent(200, Duration{});
  world_.runFor(seconds(10));
  std::map<std::string, int> seen;
  for (const std::string& message : received_) ++seen[message];
  int twice = 0;
  for (const auto& [message, count] : seen) twice += count > 1 ? 1 : 0;
  EXPECT_LT(seen.size(), 200U);
  EXPECT_GT(twice, 0);
}

}  // namespace
}  // namespace vms::sim
