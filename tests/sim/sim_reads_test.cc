#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "runner/engine_service.h"
#include "tests/sim/client.h"
#include "tests/sim/sim_cluster.h"

/// What clients read while the disk is busy, on the production engine (S13).
namespace vms::sim {
namespace {

using runner::Principal;
using runner::Service;

class Reads : public ::testing::Test {
 protected:
  Reads() : cluster_(11, {HostSize{}}), client_(cluster_, cluster_.world().rng().fork()) {
    cluster_.startEngine();
    for (const auto& node : cluster_.nodes()) cluster_.startAgent(*node);
    client_.define({VmDraft{"vm1"}, VmDraft{"vm2"}});
    EXPECT_TRUE(until([this]() { return client_.open() == 0; }));
    settle();
  }
  ~Reads() override { EXPECT_FALSE(cluster_.checkers().violation()); }

  bool until(const std::function<bool()>& done) {
    return cluster_.world().runUntil(done, cluster_.world().now() + seconds(60));
  }
  void settle() { cluster_.world().runFor(seconds(2)); }

  void setPriority(int priority) {
    cluster_.call("set", [priority](Service& service) -> asio::awaitable<void> {
      runner::VmSettings settings;
      settings.priority = priority;
      const Principal who{"p", "operator"};
      const auto set = co_await service.setVm(who, "vm1", settings);
      EXPECT_TRUE(set);
    });
  }
  /// The engine commits one change, which the disk keeps for now.
  void stallWithChange() {
    cluster_.store().setStalled(true);
    setPriority(10);
    settle();
  }
  int storedPriority() {
    for (const auto& [id, row] : cluster_.store().contents().vms) {
      if (row.spec.name == "vm1") return row.priority;
    }
    return -1;
  }

  SimCluster cluster_;
  Client client_;
};

/// Of a VM as it was told, and as it was stored at that moment.
struct Told {
  int priority = 0, stored = 0;
};

TEST_F(Reads, AVmIsToldAsItIsStored) {
  stallWithChange();
  const auto shown = std::make_shared<std::optional<Told>>();
  const auto listed = std::make_shared<std::optional<Told>>();
  cluster_.call("show", [this, shown](Service& service) -> asio::awaitable<void> {
    const auto view = co_await service.showVm("vm1");
    *shown = Told{view.value().vm.priority, storedPriority()};
  });
  cluster_.call("list", [this, listed](Service& service) -> asio::awaitable<void> {
    const std::map<std::string, std::string> all;
    const auto page = co_await service.listVms(all, 10, "");
    *listed = Told{page.value().vms.at(0).vm.priority, storedPriority()};
  });
  settle();
  EXPECT_FALSE(*shown || *listed) << "while the disk stalls nothing is told";
  setPriority(20);
  settle();
  cluster_.store().setStalled(false);
  ASSERT_TRUE(until([&]() { return *shown && *listed; }));
  for (const Told& told : {**shown, **listed}) {
    EXPECT_EQ(told.priority, 10);
    EXPECT_EQ(told.stored, 10) << "the later change is still on its way";
  }
  EXPECT_TRUE(until([&]() { return storedPriority() == 20; }));
}

TEST_F(Reads, ARequestIsToldOnceItIsStored) {
  stallWithChange();
  const auto answers = std::make_shared<int>(0);
  cluster_.call("list", [this, answers](Service& service) -> asio::awaitable<void> {
    const auto page = co_await service.listRequests(10, "");
    for (const runner::RequestView& view : page.value().requests) {
      EXPECT_TRUE(cluster_.store().contents().requests.contains(view.request.id));
    }
    ++*answers;
  });
  settle();
  StartOrder order;
  order.key = "k";
  order.all = true;
  client_.start(order);
  settle();
  cluster_.store().setStalled(false);
  EXPECT_TRUE(until([&]() { return *answers == 1 && client_.open() == 0; }));
}

TEST_F(Reads, AWatchShowsWhatIsStored) {
  // Held, for want of a host, until it is cancelled.
  cluster_.powerOff(*cluster_.findNode("h1"));
  cluster_.world().runFor(seconds(15));
  StartOrder order;
  order.key = "k";
  order.all = true;
  client_.start(order);
  ASSERT_TRUE(until([this]() { return client_.open() == 0; }));
  settle();
  stallWithChange();
  const auto states = std::make_shared<std::vector<std::string>>();
  cluster_.call("watch", [this, states](Service& service) -> asio::awaitable<void> {
    const RequestId id = cluster_.store().contents().requests.begin()->first;
    const auto watch = co_await service.watchRequest(id);
    while (states->empty() || states->back() == "active") {
      const auto event = co_await watch.value()->next();
      states->push_back(event.value().view.state);
      const runner::RequestRecord& stored = cluster_.store().contents().requests.at(id);
      EXPECT_EQ(states->back() == "active", !stored.finished_at) << states->size();
    }
  });
  settle();
  client_.cancel("k");
  settle();
  cluster_.store().setStalled(false);
  ASSERT_TRUE(until([&]() { return !states->empty() && states->back() != "active"; }));
  EXPECT_EQ(*states, (std::vector<std::string>{"active", "cancelled"}));
}

TEST_F(Reads, AnEngineThatStopsSaysSo) {
  StartOrder order;
  order.key = "k";
  order.all = true;
  client_.start(order);
  ASSERT_TRUE(until([this]() { return client_.open() == 0; }));
  const auto refused = std::make_shared<std::optional<ErrorClass>>();
  cluster_.call("watch", [this, refused](Service& service) -> asio::awaitable<void> {
    dynamic_cast<runner::EngineService&>(service).stop();
    const RequestId id = cluster_.store().contents().requests.begin()->first;
    const auto watch = co_await service.watchRequest(id);
    *refused = watch ? ErrorClass::Invalid : watch.error().error_class;
  });
  ASSERT_TRUE(until([&]() { return refused->has_value(); }));
  EXPECT_EQ(**refused, ErrorClass::Unavailable);
}

TEST_F(Reads, ARefusalTellsOfNothingThatMayBeLost) {
  stallWithChange();
  const auto gone = std::make_shared<bool>(false);
  cluster_.call("undefine", [](Service& service) -> asio::awaitable<void> {
    const Principal who{"p", "operator"};
    const auto done = co_await service.undefineVm(who, "vm2");
    EXPECT_TRUE(done);
  });
  cluster_.call("undefine again", [gone](Service& service) -> asio::awaitable<void> {
    const Principal who{"p", "operator"};
    const auto done = co_await service.undefineVm(who, "vm2");
    EXPECT_FALSE(done);
    *gone = true;
  });
  settle();
  EXPECT_FALSE(*gone);
  cluster_.store().setStalled(false);
  ASSERT_TRUE(until([&]() { return *gone; }));
  for (const auto& [id, row] : cluster_.store().contents().vms) {
    EXPECT_NE(row.defined, row.spec.name == "vm2");
  }
}

}  // namespace
}  // namespace vms::sim
