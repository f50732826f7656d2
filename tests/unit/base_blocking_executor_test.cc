#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>
#include <latch>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "schema/base/blocking_executor.h"
#include "schema/base/task_group.h"

namespace vms {
namespace {

TEST(BlockingExecutor, RunsElsewhereAndResumesAtHome) {
  asio::io_context context;
  BlockingExecutor worker("worker", 1, 4);
  TaskGroup group(context.get_executor());
  const auto home = std::this_thread::get_id();
  bool done = false;
  group.spawn("caller", [&]() -> asio::awaitable<void> {
    auto work = [] { return std::this_thread::get_id(); };
    const Result<std::thread::id> where = co_await worker.run(work);
    EXPECT_TRUE(where);
    EXPECT_NE(*where, home);
    EXPECT_EQ(std::this_thread::get_id(), home);
    done = true;
  });
  context.run();
  EXPECT_TRUE(done);
}

TEST(BlockingExecutor, HandsOverResultsErrorsAndExceptions) {
  asio::io_context context;
  BlockingExecutor worker("worker", 1, 4);
  TaskGroup group(context.get_executor());
  std::vector<std::string> log;
  group.spawn("caller", [&]() -> asio::awaitable<void> {
    auto value = [] { return std::string("value"); };
    const Result<std::string> text = co_await worker.run(value);
    log.push_back(*text);

    auto nothing = [&log] { log.push_back("nothing"); };
    const Result<void> empty = co_await worker.run(nothing);
    EXPECT_TRUE(empty);

    auto failing = []() -> Result<int> { return Error(ErrorClass::Busy, "not now"); };
    const Result<int> failed = co_await worker.run(failing);
    log.push_back(failed.error().message);

    auto throwing = []() -> int { throw std::runtime_error("thrown"); };
    std::string what;
    try {
      (void)co_await worker.run(throwing);
    } catch (const std::runtime_error& error) {
      what = error.what();
    }
    log.push_back(what);
  });
  context.run();
  EXPECT_EQ(log, (std::vector<std::string>{"value", "nothing", "not now", "thrown"}));
}

TEST(BlockingExecutor, OneThreadKeepsTheOrderOfCalls) {
  asio::io_context context;
  BlockingExecutor worker("worker", 1, 100);
  TaskGroup group(context.get_executor());
  std::vector<int> order;  // touched by the one worker thread only
  for (int i = 0; i < 50; ++i) {
    group.spawn("caller", [&, i]() -> asio::awaitable<void> {
      auto work = [&order, i] { order.push_back(i); };
      const Result<void> result = co_await worker.run(work);
      EXPECT_TRUE(result);
    });
  }
  context.run();
  ASSERT_EQ(order.size(), 50U);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(BlockingExecutor, RefusesWorkBeyondItsQueue) {
  asio::io_context context;
  std::latch started(1);
  std::latch release(1);
  BlockingExecutor worker("narrow", 1, 1);
  TaskGroup group(context.get_executor());
  std::vector<std::string> log;
  const auto call = [&](const char* name, std::function<void()> work) {
    group.spawn(name, [&log, &worker, name, work]() -> asio::awaitable<void> {
      const Result<void> result = co_await worker.run(work);
      log.push_back(std::string(name) + ": " +
                    (result ? "done" : std::string(nameOf(result.error().error_class))));
    });
  };
  call("first", [&] {
    started.count_down();
    release.wait();
  });
  context.poll();
  started.wait();
  call("second", [] {});
  call("third", [] {});
  context.poll();
  EXPECT_EQ(log, std::vector<std::string>{"third: rate_limited"});
  release.count_down();
  context.run();
  EXPECT_EQ(log, (std::vector<std::string>{"third: rate_limited", "first: done", "second: done"}));
}

TEST(BlockingExecutor, CancelWithdrawsWhatWaitsAndLetsTheRunningFinish) {
  asio::io_context context;
  std::latch started(1);
  std::latch release(1);
  bool first_ran = false;
  bool second_ran = false;
  bool returned = false;
  BlockingExecutor worker("worker", 1, 4);
  TaskGroup group(context.get_executor());
  group.spawn("first", [&]() -> asio::awaitable<void> {
    auto work = [&] {
      started.count_down();
      release.wait();
      first_ran = true;
    };
    (void)co_await worker.run(work);
    returned = true;
  });
  context.poll();
  started.wait();
  group.spawn("second", [&]() -> asio::awaitable<void> {
    auto work = [&] { second_ran = true; };
    (void)co_await worker.run(work);
    returned = true;
  });
  context.poll();
  group.cancel();
  context.poll();
  EXPECT_EQ(group.size(), 2U);  // neither is abandoned while the worker may touch its work
  release.count_down();
  context.run();
  EXPECT_EQ(group.size(), 0U);
  EXPECT_TRUE(first_ran);
  EXPECT_FALSE(second_ran);
  EXPECT_FALSE(returned);
}

TEST(BlockingExecutor, ManyThreadsServeManyCallers) {
  asio::io_context context;
  BlockingExecutor workers("workers", 4, 1000);
  TaskGroup group(context.get_executor());
  int sum = 0;
  for (int i = 1; i <= 200; ++i) {
    group.spawn("caller", [&, i]() -> asio::awaitable<void> {
      auto work = [i] { return i; };
      const Result<int> result = co_await workers.run(work);
      sum += *result;
    });
  }
  context.run();
  EXPECT_EQ(sum, 20100);
}

}  // namespace
}  // namespace vms
