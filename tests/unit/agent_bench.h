#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hostagent/agent.h"
#include "schema/proto/agent.pb.h"
#include "tests/sim/sim_host.h"
#include "tests/sim/sim_journal.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/sim_world.h"

namespace vms::hostagent {

/// An engine that says what a test tells it to, and remembers what it hears.
class ScriptedEngine {
 public:
  ScriptedEngine(sim::World& world, sim::Network& network);

  // ---- how it behaves; read at each use
  std::uint64_t term = 7;
  StartId start;  ///< Nil: an engine of an older release.
  std::string store_id = std::string(16, 's');
  std::uint64_t commit = 100;
  std::uint64_t watermark = 0;
  bool welcomes = true;
  bool acknowledges = true;  ///< Every outcome, at once.
  bool beats = true;         ///< A heartbeat each second.
  std::function<void(proto::Frame&)> tamper_welcome;
  std::optional<proto::Refused> refuses;

  /// Under the current session and term unless the frame has its own. Lost without a session.
  void send(proto::Frame frame);
  void sendRaw(std::string message);
  void cut();

  SessionNumber session() const { return session_; }
  bool connected() const { return connection_ != nullptr; }

  std::vector<proto::Hello> hellos;
  std::vector<proto::Frame> frames;           ///< Everything after Hello, but for heartbeats.
  std::optional<proto::AgentHeartbeat> beat;  ///< The last one.
  std::size_t beats_heard = 0;

  std::vector<proto::Outcome> outcomesOf(AttemptId attempt) const;
  std::vector<proto::CommandAnswer> answersOf(AttemptId attempt) const;
  std::optional<proto::BulkAccepted::Item> acceptanceOf(AttemptId attempt) const;
  std::optional<proto::DomainList> lastList(bool complete) const;
  std::size_t count(proto::Frame::BodyCase body) const;

 private:
  struct Root;
  void take(proto::Frame frame);
  void acknowledge(const proto::Outcome& outcome);

  sim::Process& process_;
  std::weak_ptr<Root> root_;
  std::shared_ptr<Connection> connection_;
  SessionNumber session_ = 0;
  SessionNumber next_session_ = 41;
};

/// One production agent on one simulated host, and a scripted engine, under virtual time.
class AgentBench {
 public:
  explicit AgentBench(std::uint64_t seed = 1);
  ~AgentBench();

  struct Root;

  sim::World world;
  sim::Network network;
  sim::SimHost host;
  sim::JournalDisk disk;
  ScriptedEngine engine;
  AgentOptions options;

  void startAgent();
  void crashAgent();
  Agent& agent();
  bool agentRuns() const { return !root_.expired(); }

  bool until(const std::function<bool()>& done, Duration limit = seconds(120));
  bool untilReady();
  void runFor(Duration duration) { world.runFor(duration); }

  /// Names are derived from the number: the same number is the same VM.
  static VmId vm(std::uint8_t number);
  static AttemptRef ref(std::uint8_t vm_number, std::uint64_t epoch = 1, std::uint8_t attempt = 0);
  static proto::CreateItem item(const AttemptRef& ref, bool paused = false);
  void create(const std::vector<proto::CreateItem>& items);
  void create(const AttemptRef& ref, bool paused = false) { create({item(ref, paused)}); }
  void command(const AttemptRef& ref, proto::Command::Kind kind);

  const sim::SimDomain* domain(const AttemptRef& ref) const;
  bool hasOutcome(const AttemptRef& ref, proto::Outcome::Kind kind) const;
  std::size_t outcomes(const AttemptRef& ref, proto::Outcome::Kind kind) const;
  const proto::CommandAnswer* answer(const AttemptRef& ref);

  std::map<AttemptId, int> appeared;  ///< Domains of an attempt that began to exist.
  std::map<AttemptId, int> resumed;

 private:
  Rng agent_rng_;
  sim::Process& process_;
  std::weak_ptr<Root> root_;
  std::uint64_t next_number_ = 1;
  std::optional<proto::CommandAnswer> found_;
};

/// A bench whose agent has become ready.
std::unique_ptr<AgentBench> readyBench(std::uint64_t seed);

}  // namespace vms::hostagent
