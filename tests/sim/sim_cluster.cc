#include "tests/sim/sim_cluster.h"

#include <utility>

#include "schema/base/check.h"
#include "schema/base/task_group.h"
#include "tests/sim/sim_hypervisor.h"

namespace vms::sim {

namespace {

constexpr Duration kServiceRestart = seconds(1);
/// Agent::stop() promises 5 s on its own clock.
constexpr Duration kAgentStopBound = seconds(6);

}  // namespace

/// What lives in the engine's process.
struct SimCluster::EngineRoot {
  EngineRoot(SimCluster& cluster, Process& process)
      : store(cluster.store_, process),
        listener(cluster.network_.listen(process)),
        rng(cluster.world_.rng().fork()),
        daemon(process.executor(),
               runner::EngineSeams{process.clock(), store, *listener, rng, cluster.faults_},
               cluster.engine_options_),
        tasks(process.executor()) {}

  SimStore store;
  std::unique_ptr<Listener> listener;
  Rng rng;
  runner::EngineDaemon daemon;
  TaskGroup tasks;
};

/// What lives in an agent's process.
struct SimCluster::AgentRoot {
  AgentRoot(SimCluster& cluster, Node& node, Process& process)
      : journal(node.journal, process),
        hypervisor(node.uses_other ? node.other : node.host, process),
        dialer(cluster.network_.dial(process, node.host.id(), node.name())),
        rng(cluster.world_.rng().fork()),
        agent(process.executor(),
              hostagent::AgentSeams{process.clock(), *dialer, journal, hypervisor, rng,
                                    cluster.faults_},
              optionsOf(node, process)),
        tasks(process.executor()) {}

  static hostagent::AgentOptions optionsOf(const Node& node, Process& process) {
    hostagent::AgentOptions options = node.options;
    options.host = node.name();
    options.boot_id = node.host.bootId();
    options.hardware_uuid = node.host.hardwareUuid();
    options.agent_version = "sim";
    options.uptime = [&process]() { return process.clock().now().since_start; };
    options.capacity.cpus = node.host.cpus();
    options.capacity.memory = node.host.memory();
    return options;
  }

  SimJournal journal;
  SimHypervisor hypervisor;
  std::unique_ptr<Dialer> dialer;
  Rng rng;
  hostagent::Agent agent;
  TaskGroup tasks;
};

SimCluster::SimCluster(std::uint64_t seed, std::vector<HostSize> sizes)
    : world_(seed),
      network_(world_),
      store_(world_),
      checkers_(world_, store_),
      faults_(world_),
      engine_(world_.addProcess("engine")) {
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    nodes_.push_back(std::make_unique<Node>(world_, "h" + std::to_string(i + 1), sizes[i]));
    Node& node = *nodes_.back();
    checkers_.watch(node.host, node.journal, node.name(), node.uses_other);
  }
  checkers_.watch(network_);
}

SimCluster::~SimCluster() {
  for (const auto& node : nodes_) node->agent.crash();
  engine_.crash();
}

Node* SimCluster::findNode(const HostId& id) {
  for (const auto& node : nodes_) {
    if (node->host.id() == id) return node.get();
  }
  return nullptr;
}

Node& SimCluster::addClone(Node& original) {
  const HostSize size{original.host.cpus(), original.host.memory()};
  nodes_.push_back(std::make_unique<Node>(world_, original.host.id() + "-clone", size));
  Node& clone = *nodes_.back();
  clone.certificate = original.name();
  clone.options = original.options;
  clone.host.setHardwareUuid(original.host.hardwareUuid());
  // One that booted while the original was silent could not be told from it (S3).
  clone.host.bootedLongAgo();
  clone.journal.copyFrom(original.journal);
  checkers_.watch(clone.host, clone.journal, clone.name(), clone.uses_other);
  return clone;
}

void SimCluster::endImpostors() {
  for (const auto& node : nodes_) {
    // The whole machine, with what an operator may have moved there.
    if (node->isClone() && node->agent.alive()) powerOff(*node);
    if (!node->uses_other) continue;
    crashAgent(*node);
    node->uses_other = false;
    startAgent(*node);
  }
}

void SimCluster::endLostGuests() {
  for (const auto& node : nodes_) {
    const std::map<VmId, SimDomain> domains = node->host.domains();
    for (const auto& [vm, domain] : domains) {
      const std::optional<Claim>& claim = domain.info.claim;
      if (!claim || claim->host != node->name() || !domain.executing()) continue;
      const bool known = node->journal.find(claim->ref.attempt) != nullptr;
      if (known || node->journal.floorOf(vm) < claim->ref.epoch) continue;
      world_.tell("operator: ends " + domain.info.name + " on " + node->host.id());
      node->host.endGuest(vm, hostagent::StopReason::Shutdown);
    }
  }
}

bool SimCluster::isOff(const HostId& name) const {
  return std::none_of(nodes_.begin(), nodes_.end(), [&](const auto& node) {
    if (node->name() == name && node->host.poweredOn()) return true;
    const std::map<VmId, SimDomain>& domains = node->host.domains();
    return std::any_of(domains.begin(), domains.end(), [&](const auto& entry) {
      const std::optional<Claim>& claim = entry.second.info.claim;
      return claim && claim->host == name;
    });
  });
}

void SimCluster::startEngine() {
  if (engine_.alive()) return;
  engine_.start([this](Process& process) -> std::shared_ptr<void> {
    const auto root = std::make_shared<EngineRoot>(*this, process);
    const auto loaded = root->daemon.load();
    if (!loaded) {
      checkers_.fail("engine_load", loaded.error().message);
      return root;
    }
    engine_root_ = root;
    root->tasks.spawn("engine", [this, daemon = &root->daemon]() -> asio::awaitable<void> {
      co_await daemon->run();
      world_.tell("engine: has ended");
      world_.in(Duration{}, [this]() { engine_.crash(); });
      world_.in(kServiceRestart, [this]() { startEngine(); });
    });
    return root;
  });
  world_.tell("engine: starts, term " + std::to_string(store_.contents().marks.term.value));
}

void SimCluster::crashEngine() {
  if (!engine_.alive()) return;
  world_.tell("engine: crashes");
  ++crashes_;
  engine_.crash();
}

void SimCluster::startAgent(Node& node) {
  if (node.agent.alive() || !node.host.poweredOn()) return;
  node.agent.machine().booted = node.host.bootedAt();
  node.agent.start([this, &node](Process& process) -> std::shared_ptr<void> {
    const auto root = std::make_shared<AgentRoot>(*this, node, process);
    agent_roots_[node.host.id()] = root;
    root->tasks.spawn("agent", [this, &node, agent = &root->agent]() -> asio::awaitable<void> {
      co_await agent->run();
      world_.tell(node.host.id() + ": agent has ended" +
                  (agent->failure() ? ": " + agent->failure()->message : std::string()));
      world_.in(Duration{}, [&node]() { node.agent.crash(); });
      world_.in(kServiceRestart, [this, &node]() { startAgent(node); });
    });
    return root;
  });
  world_.tell(node.host.id() + ": agent starts");
}

void SimCluster::crashAgent(Node& node) {
  if (!node.agent.alive()) return;
  world_.tell(node.host.id() + ": agent crashes");
  ++crashes_;
  node.agent.crash();
}

void SimCluster::powerOff(Node& node) {
  if (!node.host.poweredOn()) return;
  world_.tell(node.host.id() + ": loses power");
  network_.powerOff(node.host.id());
  node.agent.crash();
  node.host.powerOff();
}

void SimCluster::loseJournal(Node& node) {
  crashAgent(node);
  world_.tell(node.host.id() + ": journal is lost");
  node.journal.wipe();
  checkers_.journalLost(node.host.id());
}

void SimCluster::powerOn(Node& node) {
  if (node.host.poweredOn()) return;
  node.host.powerOn();
  world_.tell(node.host.id() + ": boots");
  startAgent(node);
}

void SimCluster::stopEngine() {
  const auto root = engine_root_.lock();
  if (!root || !engine_.alive()) return;
  world_.tell("engine: is asked to stop");
  root->tasks.spawn("stop", [daemon = &root->daemon]() -> asio::awaitable<void> {
    daemon->stop();
    co_return;
  });
}

void SimCluster::stopAgent(Node& node) {
  const auto root = agent_roots_[node.host.id()].lock();
  if (!root || !node.agent.alive()) return;
  world_.tell(node.host.id() + ": agent is asked to stop");
  root->tasks.spawn("stop", [agent = &root->agent]() -> asio::awaitable<void> {
    agent->stop();
    co_return;
  });
  watchStop(node, node.agent.incarnation());
}

void SimCluster::watchStop(Node& node, std::uint64_t incarnation) {
  world_.in(kAgentStopBound, [this, &node, incarnation]() {
    if (!node.agent.alive() || node.agent.incarnation() != incarnation) return;
    if (node.journal.stalled()) {
      // What it has decided must become durable first, and nobody can hurry a disk.
      watchStop(node, incarnation);
      return;
    }
    checkers_.fail("stop_hangs",
                   "the agent of " + node.host.id() + " was asked to stop and works on");
  });
}

bool SimCluster::call(std::string name,
                      std::function<asio::awaitable<void>(runner::Service&)> body) {
  const auto root = engine_root_.lock();
  if (!root || !engine_.alive()) return false;
  root->tasks.spawn(std::move(name), [body = std::move(body), daemon = &root->daemon]() {
    return body(daemon->service());
  });
  return true;
}

}  // namespace vms::sim
