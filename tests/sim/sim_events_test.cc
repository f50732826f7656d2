#include <gtest/gtest.h>

#include <memory>

#include "tests/sim/client.h"
#include "tests/sim/sim_cluster.h"

/// Watching everything, on the production engine.
namespace vms::sim {
namespace {

using runner::EventId;
using runner::EventPiece;
using runner::EventWatch;
using runner::Service;

/// A client of GET /v1/events: polls whenever it is told to, and checks what it is shown.
struct Watcher : std::enable_shared_from_this<Watcher> {
  explicit Watcher(SimCluster& cluster_in) : cluster(cluster_in) {}

  void open() {
    cluster.call("watch", [self = shared_from_this()](Service& service) -> asio::awaitable<void> {
      auto on_change = [weak = std::weak_ptr<Watcher>(self)]() {
        if (const auto one = weak.lock()) one->drain();
      };
      auto opened = service.watchEvents({}, self->last, std::move(on_change));
      EXPECT_TRUE(opened);
      self->watch = std::move(*opened);
      self->drain();
      co_return;
    });
  }
  void close() { watch.reset(); }

  void drain() {
    for (;;) {
      const auto piece = watch->poll();
      if (!piece || *piece == nullptr) return;
      take(**piece);
    }
  }

  void take(const EventPiece& piece) {
    ++pieces;
    if (piece.reset) {
      ++resets;
      vms.clear();
      hosts.clear();
    }
    const StoreContents& durable = cluster.store().contents();
    EXPECT_LE(piece.id.commit, durable.marks.commit.value);
    for (const runner::VmEvent& row : piece.vms) {
      vms[row.vm_name] = row.state;
      if (!row.host.empty()) checkDurable(durable, row);
    }
    for (const runner::RequestView& row : piece.requests) {
      EXPECT_TRUE(durable.requests.contains(row.request.id));
      requests[row.request.id] = row.state;
    }
    for (const runner::HostEvent& row : piece.hosts) hosts[row.host] = row.state;
    if (piece.complete) last = piece.id;
  }

  /// S13: what is shown of a VM is in the database by then.
  static void checkDurable(const StoreContents& durable, const runner::VmEvent& row) {
    for (const auto& [id, attempt] : durable.attempts) {
      if (attempt.ref.vm == row.vm && attempt.host == row.host &&
          nameOf(attempt.state) == row.state)
        return;
    }
    ADD_FAILURE() << row.vm_name << " was shown as " << row.state << " on " << row.host
                  << " before that was durable";
  }

  std::size_t count(const std::string& state) const {
    std::size_t found = 0;
    for (const auto& [name, now] : vms) found += now == state ? 1u : 0u;
    return found;
  }

  SimCluster& cluster;
  std::unique_ptr<EventWatch> watch;
  std::map<std::string, std::string> vms, hosts;
  std::map<RequestId, std::string> requests;
  std::optional<EventId> last;
  int pieces = 0, resets = 0;
};

class Events : public ::testing::Test {
 protected:
  Events()
      : cluster_(11, {HostSize{}, HostSize{}}), client_(cluster_, cluster_.world().rng().fork()) {
    cluster_.startEngine();
    for (const auto& node : cluster_.nodes()) cluster_.startAgent(*node);
    std::vector<VmDraft> drafts;
    for (int i = 0; i < kVms; ++i) drafts.push_back(VmDraft{"vm" + std::to_string(i)});
    client_.define(std::move(drafts));
    EXPECT_TRUE(until([this]() { return client_.open() == 0; }));
  }
  ~Events() override { EXPECT_FALSE(cluster_.checkers().violation()); }

  bool until(const std::function<bool()>& done) {
    return cluster_.world().runUntil(done, cluster_.world().now() + seconds(60));
  }
  void startAll() {
    StartOrder order;
    order.key = "k";
    order.all = true;
    client_.start(order);
  }

  static constexpr int kVms = 20;
  SimCluster cluster_;
  Client client_;
};

TEST_F(Events, SnapshotThenChangesUpToTheEnd) {
  const auto watcher = std::make_shared<Watcher>(cluster_);
  watcher->open();
  ASSERT_TRUE(until([&]() { return watcher->count("stopped") == kVms; }));
  ASSERT_TRUE(until([&]() { return watcher->hosts["h1"] == "ready"; }));
  startAll();
  ASSERT_TRUE(until([&]() { return watcher->count("running") == kVms; }));
  ASSERT_TRUE(until([&]() {
    return !watcher->requests.empty() && watcher->requests.begin()->second == "succeeded";
  }));
  EXPECT_EQ(watcher->resets, 0);
  watcher->close();
}

TEST_F(Events, NothingIsShownWhileTheDiskStalls) {
  const auto watcher = std::make_shared<Watcher>(cluster_);
  watcher->open();
  ASSERT_TRUE(until([&]() { return watcher->count("stopped") == kVms; }));
  cluster_.store().setStalled(true);
  startAll();
  cluster_.world().runFor(seconds(2));
  EXPECT_EQ(watcher->count("stopped"), static_cast<std::size_t>(kVms));
  cluster_.store().setStalled(false);
  EXPECT_TRUE(until([&]() { return watcher->count("running") == kVms; }));
  watcher->close();
}

TEST_F(Events, AClientGoesOnAfterItsConnectionBroke) {
  const auto watcher = std::make_shared<Watcher>(cluster_);
  watcher->open();
  ASSERT_TRUE(until([&]() { return watcher->last.has_value(); }));
  watcher->close();
  startAll();
  ASSERT_TRUE(until([&]() { return client_.open() == 0; }));
  watcher->open();
  EXPECT_TRUE(until([&]() { return watcher->count("running") == kVms; }));
  EXPECT_EQ(watcher->resets, 0);
  watcher->close();
}

TEST_F(Events, AnotherEngineBeginsWithAReset) {
  const auto watcher = std::make_shared<Watcher>(cluster_);
  watcher->open();
  ASSERT_TRUE(until([&]() { return watcher->last.has_value(); }));
  const std::uint64_t generation = watcher->last->generation;
  watcher->close();
  cluster_.crashEngine();
  cluster_.startEngine();
  watcher->open();
  ASSERT_TRUE(until([&]() { return watcher->last->generation > generation; }));
  EXPECT_EQ(watcher->resets, 1);
  EXPECT_EQ(watcher->vms.size(), static_cast<std::size_t>(kVms));
  watcher->close();
}

TEST_F(Events, ALostHostIsTold) {
  const auto watcher = std::make_shared<Watcher>(cluster_);
  watcher->open();
  ASSERT_TRUE(until([&]() { return watcher->hosts["h2"] == "ready"; }));
  cluster_.powerOff(*cluster_.findNode("h2"));
  EXPECT_TRUE(until([&]() { return watcher->hosts["h2"] == "disconnected"; }));
  watcher->close();
}

TEST_F(Events, MoreThanTheLimitAreRefused) {
  auto watches = std::make_shared<std::vector<std::unique_ptr<EventWatch>>>();
  auto refused = std::make_shared<std::optional<Error>>();
  cluster_.call("watch", [watches, refused](Service& service) -> asio::awaitable<void> {
    while (!*refused && watches->size() < 100'000) {
      auto watch = service.watchEvents({}, std::nullopt, []() {});
      if (watch) {
        watches->push_back(std::move(*watch));
      } else {
        *refused = watch.error();
      }
    }
    watches->pop_back();
    EXPECT_TRUE(service.watchEvents({}, std::nullopt, []() {})) << "one has left";
    watches->clear();
    co_return;
  });
  ASSERT_TRUE(until([&]() { return refused->has_value() && watches->empty(); }));
  EXPECT_EQ((*refused)->error_class, ErrorClass::Unavailable);
}

}  // namespace
}  // namespace vms::sim
