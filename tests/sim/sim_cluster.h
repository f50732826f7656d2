#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "hostagent/agent.h"
#include "runner/engine_daemon.h"
#include "tests/sim/checkers.h"
#include "tests/sim/sim_faults.h"
#include "tests/sim/sim_host.h"
#include "tests/sim/sim_journal.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/sim_store.h"
#include "tests/sim/sim_world.h"

namespace vms::sim {

struct HostSize {
  std::uint32_t cpus = 64;
  std::uint64_t memory = std::uint64_t{16} << 30;
};

/// One host with its agent.
struct Node {
  Node(World& world, HostId id, HostSize size)
      : host(world, id, size.cpus, size.memory),
        other(world, id, size.cpus, size.memory),
        journal(world, id),
        agent(world.addProcess(id)) {}

  SimHost host;
  SimHost other;            ///< Another hypervisor within reach, with domains of its own.
  bool uses_other = false;  ///< The agent is configured for that one (S4); from its next start.
  JournalDisk journal;
  Process& agent;
  hostagent::AgentOptions options;
  std::string certificate;   ///< The name it proves, when that is not its own (a clone).
  bool joins_later = false;  ///< Its agent is not started with the others.

  HostId name() const { return certificate.empty() ? host.id() : certificate; }
  bool isClone() const { return !certificate.empty(); }
};

/// The production engine and agents on simulated seams, with checkers watching.
///
/// Nothing runs until it is started. A daemon that ends by itself is started again, as systemd
/// would.
class SimCluster {
 public:
  SimCluster(std::uint64_t seed, std::vector<HostSize> sizes);
  ~SimCluster();

  World& world() { return world_; }
  Network& network() { return network_; }
  StoreDisk& store() { return store_; }
  Checkers& checkers() { return checkers_; }
  SimFaults& faults() { return faults_; }
  Process& engineProcess() { return engine_; }
  std::vector<std::unique_ptr<Node>>& nodes() { return nodes_; }
  Node* findNode(const HostId& id);
  /// Another machine with `original`'s disk: its certificate, its hardware UUID and what its
  /// journal held, but a boot and domains of its own. Called `<original>-clone`; not started.
  Node& addClone(Node& original);

  runner::EngineOptions& engineOptions() { return engine_options_; }

  /// Whatever a person ends before confirming hosts: clones, and agents that were configured for
  /// another hypervisor.
  void endImpostors();
  /// A person ends guests that live under a spent epoch of which a new journal knows no more.
  void endLostGuests();

  void startEngine();
  void crashEngine();
  bool engineRuns() const { return engine_.alive(); }
  void startAgent(Node& node);
  void crashAgent(Node& node);
  /// In good order, as systemd stops them; they are started again once they have ended. An agent
  /// that does not end in time fails the run.
  void stopEngine();
  void stopAgent(Node& node);
  /// The whole machine: domains, agent and connections go without a word.
  void powerOff(Node& node);
  /// Its journal is gone when the agent starts again.
  void loseJournal(Node& node);
  void powerOn(Node& node);
  /// Every machine of this name is off, and nothing that it was to run lives anywhere else.
  bool isOff(const HostId& name) const;
  std::uint64_t crashes() const { return crashes_; }

  /// Runs a client's call inside the engine, as a request handler would. False: no engine serves.
  /// When the engine crashes first, the call ends nowhere.
  bool call(std::string name, std::function<asio::awaitable<void>(runner::Service&)> body);

 private:
  struct EngineRoot;
  struct AgentRoot;

  void watchStop(Node& node, std::uint64_t incarnation);

  World world_;
  Network network_;
  StoreDisk store_;
  Checkers checkers_;
  SimFaults faults_;
  Process& engine_;
  runner::EngineOptions engine_options_;
  std::weak_ptr<EngineRoot> engine_root_;
  std::map<HostId, std::weak_ptr<AgentRoot>> agent_roots_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::uint64_t crashes_ = 0;
};

}  // namespace vms::sim
