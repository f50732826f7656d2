#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "schema/base/task_group.h"

namespace vms {
namespace {

asio::awaitable<void> sleepForever() {
  asio::steady_timer timer(co_await asio::this_coro::executor,
                           asio::steady_timer::time_point::max());
  co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<void> yieldOnce() {
  asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::seconds(0));
  co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<void> joinAndNote(TaskGroup* group, std::vector<std::string>* log) {
  co_await group->join();
  log->push_back("joined");
}

TEST(TaskGroup, JoinWaitsForAllChildren) {
  asio::io_context context;
  TaskGroup group(context.get_executor());
  TaskGroup waiters(context.get_executor());
  std::vector<std::string> log;
  for (int i = 0; i < 3; ++i) {
    group.spawn("child", [&log]() -> asio::awaitable<void> {
      co_await yieldOnce();
      log.push_back("child");
    });
  }
  EXPECT_EQ(group.size(), 3U);
  waiters.spawn("waiter", [&] { return joinAndNote(&group, &log); });
  context.run();
  EXPECT_EQ(log, (std::vector<std::string>{"child", "child", "child", "joined"}));
  EXPECT_EQ(group.size(), 0U);
}

TEST(TaskGroup, JoinOfAnEmptyGroupReturnsAtOnce) {
  asio::io_context context;
  TaskGroup group(context.get_executor());
  TaskGroup waiters(context.get_executor());
  std::vector<std::string> log;
  waiters.spawn("waiter", [&] { return joinAndNote(&group, &log); });
  context.run();
  EXPECT_EQ(log, std::vector<std::string>{"joined"});
}

TEST(TaskGroup, CancelStopsEveryChildAndRefusesNewOnes) {
  asio::io_context context;
  TaskGroup group(context.get_executor());
  TaskGroup waiters(context.get_executor());
  std::vector<std::string> log;
  group.spawn("first", [] { return sleepForever(); });
  group.spawn("second", [] { return sleepForever(); });
  context.poll();
  EXPECT_EQ(group.size(), 2U);

  group.cancel();
  group.cancel();
  bool called = false;
  group.spawn("late", [&called]() -> asio::awaitable<void> {
    called = true;
    co_return;
  });
  waiters.spawn("waiter", [&] { return joinAndNote(&group, &log); });
  context.restart();
  context.run();
  EXPECT_FALSE(called);
  EXPECT_EQ(group.size(), 0U);
  EXPECT_EQ(log, std::vector<std::string>{"joined"});
}

TEST(TaskGroup, CancelReachesAChildThatHasNotStarted) {
  asio::io_context context;
  TaskGroup group(context.get_executor());
  bool passed_its_first_wait = false;
  group.spawn("fresh", [&passed_its_first_wait]() -> asio::awaitable<void> {
    co_await sleepForever();
    passed_its_first_wait = true;
  });
  group.cancel();
  context.run();
  EXPECT_EQ(group.size(), 0U);
  EXPECT_FALSE(passed_its_first_wait);
}

TEST(TaskGroup, AChildMaySpawnSiblingsAndCancelItsGroup) {
  asio::io_context context;
  TaskGroup group(context.get_executor());
  bool sibling_ran = false;
  group.spawn("parent", [&]() -> asio::awaitable<void> {
    group.spawn("sibling", [&]() -> asio::awaitable<void> {
      sibling_ran = true;
      co_await sleepForever();
    });
    co_await yieldOnce();
    group.cancel();
  });
  context.run();
  EXPECT_TRUE(sibling_ran);
  EXPECT_EQ(group.size(), 0U);
}

TEST(TaskGroup, KeepsCapturesAliveWhileTheChildRuns) {
  asio::io_context context;
  TaskGroup group(context.get_executor());
  const auto owned = std::make_shared<std::string>("a value only the child holds");
  const std::weak_ptr<std::string> watched = owned;
  std::string seen;
  {
    std::function<asio::awaitable<void>()> make = [value = *owned, keep = owned,
                                                   &seen]() -> asio::awaitable<void> {
      co_await yieldOnce();
      seen = value;
    };
    group.spawn("keeper", std::move(make));
  }
  context.run();
  EXPECT_EQ(seen, "a value only the child holds");
  EXPECT_EQ(watched.use_count(), 1);
}

TEST(TaskGroup, ACancelledJoinThrowsAndLeavesTheGroupAlone) {
  asio::io_context context;
  TaskGroup group(context.get_executor());
  TaskGroup waiters(context.get_executor());
  std::vector<std::string> log;
  group.spawn("child", [] { return sleepForever(); });
  waiters.spawn("waiter", [&] { return joinAndNote(&group, &log); });
  context.poll();
  waiters.cancel();
  context.restart();
  context.poll();
  EXPECT_TRUE(log.empty());
  EXPECT_EQ(waiters.size(), 0U);
  EXPECT_EQ(group.size(), 1U);
  group.cancel();
  context.restart();
  context.run();
}

TEST(TaskGroup, MayBeDestroyedTogetherWithItsContext) {
  auto context = std::make_unique<asio::io_context>();
  auto group = std::make_unique<TaskGroup>(context->get_executor());
  const auto owned = std::make_shared<int>(1);
  group->spawn("abandoned", [keep = owned]() -> asio::awaitable<void> {
    co_await sleepForever();
    EXPECT_TRUE(keep);
  });
  context->poll();
  group.reset();
  context.reset();
  EXPECT_EQ(owned.use_count(), 1);
}

using TaskGroupDeathTest = testing::Test;

void runChildThatThrows() {
  asio::io_context context;
  TaskGroup group(context.get_executor());
  group.spawn("bad child", []() -> asio::awaitable<void> {
    co_await yieldOnce();
    throw std::runtime_error("lost its way");
  });
  context.run();
}

TEST(TaskGroupDeathTest, AnEscapingExceptionAbortsWithTheChildsName) {
  EXPECT_DEATH(runChildThatThrows(), "task 'bad child'.*lost its way");
}

}  // namespace
}  // namespace vms
