#include "tests/sim/sim_world.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <memory>
#include <string>

#include "schema/base/task_group.h"

namespace vms::sim {
namespace {

/// A root object with one task, as a daemon has.
struct Root {
  explicit Root(Process& process) : tasks(process.executor()) {}
  TaskGroup tasks;
};

Process::Factory task(std::function<asio::awaitable<void>(Process&)> body) {
  return [body = std::move(body)](Process& process) {
    auto root = std::make_shared<Root>(process);
    root->tasks.spawn("test", [body, &process]() { return body(process); });
    return root;
  };
}

TEST(World, WakesSleepersInOrderOfTheirDeadlines) {
  World world(1);
  std::string order;
  Process& process = world.addProcess("p");
  process.start([&order](Process& p) {
    auto root = std::make_shared<Root>(p);
    for (const int i : {3, 1, 2}) {
      root->tasks.spawn("sleeper", [&order, &p, i]() -> asio::awaitable<void> {
        co_await p.clock().sleepFor(seconds(i));
        order += std::to_string(i);
      });
    }
    return root;
  });
  world.runFor(seconds(10));
  EXPECT_EQ(order, "123");
  EXPECT_EQ(world.now().since_start, seconds(10));
}

TEST(World, CrashDropsSleepersAndRestartIsANewIncarnation) {
  World world(1);
  int woken = 0;
  Process& process = world.addProcess("p");
  const auto body = [&woken](Process& p) -> asio::awaitable<void> {
    co_await p.clock().sleepFor(seconds(5));
    ++woken;
  };
  process.start(task(body));
  world.in(seconds(1), [&process]() { process.crash(); });
  world.in(seconds(2), [&process, body]() { process.start(task(body)); });
  world.runFor(seconds(6));
  EXPECT_EQ(woken, 0);
  world.runFor(seconds(2));
  EXPECT_EQ(woken, 1);
  EXPECT_EQ(process.incarnation(), 2U);
}

TEST(World, CrashRunsDestructorsWhileTheRootLives) {
  World world(1);
  Process& process = world.addProcess("p");
  struct State {
    bool root_gone = false;
    bool seen_alive = false;
  };
  const auto state = std::make_shared<State>();
  process.start([state](Process& p) {
    struct Guarded : Root {
      Guarded(Process& q, std::shared_ptr<State> s) : Root(q), state(std::move(s)) {}
      ~Guarded() { state->root_gone = true; }
      std::shared_ptr<State> state;
    };
    auto root = std::make_shared<Guarded>(p, state);
    root->tasks.spawn("guard", [state, &p]() -> asio::awaitable<void> {
      struct OnExit {
        std::shared_ptr<State> s;
        ~OnExit() { s->seen_alive = !s->root_gone; }
      };
      const OnExit guard{state};
      co_await p.clock().sleepFor(std::chrono::hours(1));
    });
    return root;
  });
  world.runFor(seconds(1));
  process.crash();
  EXPECT_TRUE(state->seen_alive);
  EXPECT_TRUE(state->root_gone);
}

TEST(World, CancelledSleeperThrows) {
  World world(1);
  bool returned = false;
  Process& process = world.addProcess("p");
  process.start([&returned](Process& p) {
    auto root = std::make_shared<Root>(p);
    root->tasks.spawn("sleeper", [&returned, &p]() -> asio::awaitable<void> {
      co_await p.clock().sleepFor(std::chrono::hours(1));
      returned = true;
    });
    p.world().in(seconds(1), [weak = std::weak_ptr<Root>(root)]() {
      if (const auto r = weak.lock()) r->tasks.cancel();
    });
    return root;
  });
  world.runFor(seconds(2));
  EXPECT_FALSE(returned);
}

TEST(World, SameSeedGivesTheSameTrace) {
  const auto run = [](std::uint64_t seed) {
    World world(seed);
    for (int i = 0; i < 5; ++i) {
      Process& process = world.addProcess("p" + std::to_string(i));
      process.start(task([i](Process& p) -> asio::awaitable<void> {
        Rng rng(p.world().rng().fork());
        for (int n = 0; n < 50; ++n) {
          const Duration pause = milliseconds(rng.below(20));
          co_await p.clock().sleepFor(pause);
          p.world().detail(std::to_string(i));
        }
      }));
    }
    world.runFor(seconds(60));
    return world.trace().hash() ^ world.rng().next();
  };
  EXPECT_EQ(run(7), run(7));
  EXPECT_NE(run(7), run(8));
}

TEST(MachineClock, ConvertsBothWaysUnderDrift) {
  for (const std::int64_t drift :
       {std::int64_t{0}, std::int64_t{200'000}, std::int64_t{-200'000}}) {
    const MachineClock clock{TimePoint{seconds(5)}, drift, {}};
    for (const Duration local :
         {Duration(seconds(1)), Duration(std::chrono::hours(100)), Duration(123'456'789'123)}) {
      const TimePoint world = clock.toWorld(TimePoint{local});
      EXPECT_GE(clock.toLocal(world).since_start, local);
      EXPECT_LT(clock.toLocal(world).since_start - local, std::chrono::microseconds(1));
    }
  }
}

}  // namespace
}  // namespace vms::sim
