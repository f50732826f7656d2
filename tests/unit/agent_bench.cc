#include "tests/unit/agent_bench.h"

#include <memory>
#include <utility>

#include "schema/base/check.h"
#include "schema/base/task_group.h"
#include "schema/frames.h"
#include "tests/sim/sim_hypervisor.h"

namespace vms::hostagent {

// ---- engine

struct ScriptedEngine::Root {
  Root(ScriptedEngine& engine_in, sim::Network& network, sim::Process& process_in)
      : engine(engine_in),
        process(process_in),
        listener(network.listen(process_in)),
        tasks(process_in.executor()) {
    tasks.spawn("serve", [this] { return serve(); });
    tasks.spawn("beat", [this] { return beat(); });
  }

  asio::awaitable<void> serve() {
    for (;;) {
      Result<std::unique_ptr<Connection>> accepted = co_await listener->accept();
      if (!accepted) co_return;
      const std::shared_ptr<Connection> connection = std::move(*accepted);
      engine.connection_ = connection;
      co_await converse(connection);
      connection->close();
      if (engine.connection_ == connection) engine.connection_.reset();
      engine.session_ = 0;
    }
  }

  asio::awaitable<void> converse(std::shared_ptr<Connection> connection) {
    for (;;) {
      const Result<std::string> message = co_await connection->receive();
      if (!message) co_return;
      proto::Frame frame;
      VMS_CHECK(frame.ParseFromString(*message), "agents send frames");
      if (!frame.has_hello()) {
        engine.take(std::move(frame));
        continue;
      }
      engine.hellos.push_back(frame.hello());
      if (engine.refuses) {
        proto::Frame refusal;
        *refusal.mutable_refused() = *engine.refuses;
        const Result<void> sent = co_await connection->send(refusal.SerializeAsString());
        if (!sent) co_return;
        continue;
      }
      if (!engine.welcomes) continue;
      engine.session_ = engine.next_session_++;
      proto::Frame welcome;
      welcome.set_session(engine.session_);
      welcome.set_term(engine.term);
      welcome.mutable_welcome()->set_protocol(1);
      welcome.mutable_welcome()->set_session(engine.session_);
      welcome.mutable_welcome()->set_heartbeat_ms(1000);
      welcome.mutable_welcome()->set_watermark(engine.watermark);
      proto::StoreMarks& marks = *welcome.mutable_welcome()->mutable_marks();
      marks.set_store_id(engine.store_id);
      marks.set_term(engine.term);
      marks.set_start(engine.start.uuid.toBytes());
      marks.set_commit(engine.commit);
      if (engine.tamper_welcome) engine.tamper_welcome(welcome);
      const Result<void> sent = co_await connection->send(welcome.SerializeAsString());
      if (!sent) co_return;
    }
  }

  asio::awaitable<void> beat() {
    for (;;) {
      co_await process.clock().sleepFor(seconds(1));
      if (!engine.beats || engine.session_ == 0) continue;
      proto::Frame frame;
      frame.mutable_engine_heartbeat()->set_commit(engine.commit);
      frame.mutable_engine_heartbeat()->set_watermark(engine.watermark);
      engine.send(std::move(frame));
    }
  }

  ScriptedEngine& engine;
  sim::Process& process;
  std::unique_ptr<Listener> listener;
  TaskGroup tasks;
};

ScriptedEngine::ScriptedEngine(sim::World& world, sim::Network& network)
    : process_(world.addProcess("engine")) {
  process_.start([&](sim::Process& process) {
    auto root = std::make_shared<Root>(*this, network, process);
    root_ = root;
    return root;
  });
}

void ScriptedEngine::send(proto::Frame frame) {
  if (frame.session() == 0) frame.set_session(session_);
  if (frame.term() == 0) frame.set_term(term);
  sendRaw(frame.SerializeAsString());
}

void ScriptedEngine::sendRaw(std::string message) {
  const std::shared_ptr<Root> root = root_.lock();
  if (!root || !connection_) return;
  root->tasks.spawn(
      "send", [connection = connection_, text = std::move(message)]() -> asio::awaitable<void> {
        std::string copy = text;
        const Result<void> sent = co_await connection->send(std::move(copy));
        static_cast<void>(sent);
      });
}

void ScriptedEngine::cut() {
  if (connection_) connection_->close();
}

void ScriptedEngine::take(proto::Frame frame) {
  if (frame.has_agent_heartbeat()) {
    beat = frame.agent_heartbeat();
    ++beats_heard;
    return;
  }
  if (frame.has_outcome() && acknowledges) acknowledge(frame.outcome());
  frames.push_back(std::move(frame));
}

void ScriptedEngine::acknowledge(const proto::Outcome& outcome) {
  proto::Frame frame;
  proto::Acknowledge& acknowledge = *frame.mutable_acknowledge();
  proto::Acknowledge::Item& item = *acknowledge.add_items();
  *item.mutable_ref() = outcome.ref();
  item.set_kind(outcome.kind());
  acknowledge.set_commit(++commit);
  acknowledge.set_store_id(store_id);
  send(std::move(frame));
}

namespace {

bool names(const proto::AttemptRef& ref, AttemptId attempt) {
  return ref.attempt() == attempt.uuid.toBytes();
}

}  // namespace

std::vector<proto::Outcome> ScriptedEngine::outcomesOf(AttemptId attempt) const {
  std::vector<proto::Outcome> found;
  for (const proto::Frame& frame : frames) {
    if (frame.has_outcome() && names(frame.outcome().ref(), attempt)) {
      found.push_back(frame.outcome());
    }
  }
  return found;
}

std::vector<proto::CommandAnswer> ScriptedEngine::answersOf(AttemptId attempt) const {
  std::vector<proto::CommandAnswer> found;
  for (const proto::Frame& frame : frames) {
    if (frame.has_command_answer() && names(frame.command_answer().ref(), attempt)) {
      found.push_back(frame.command_answer());
    }
  }
  return found;
}

std::optional<proto::BulkAccepted::Item> ScriptedEngine::acceptanceOf(AttemptId attempt) const {
  std::optional<proto::BulkAccepted::Item> found;
  for (const proto::Frame& frame : frames) {
    for (const proto::BulkAccepted::Item& item : frame.bulk_accepted().items()) {
      if (item.attempt() == attempt.uuid.toBytes()) found = item;
    }
  }
  return found;
}

std::optional<proto::DomainList> ScriptedEngine::lastList(bool complete) const {
  std::optional<proto::DomainList> found;
  for (const proto::Frame& frame : frames) {
    if (frame.has_domain_list() && frame.domain_list().complete() == complete) {
      found = frame.domain_list();
    }
  }
  return found;
}

std::size_t ScriptedEngine::count(proto::Frame::BodyCase body) const {
  std::size_t found = 0;
  for (const proto::Frame& frame : frames) found += frame.body_case() == body ? 1U : 0U;
  return found;
}

// ---- bench

struct AgentBench::Root {
  Root(AgentBench& bench, sim::Process& process)
      : journal(bench.disk, process),
        hypervisor(bench.host, process),
        dialer(bench.network.dial(process, "h1", "h1")),
        rng(bench.agent_rng_.fork()),
        agent(process.executor(),
              AgentSeams{process.clock(), *dialer, journal, hypervisor, rng, faults},
              optionsOf(bench, process)),
        tasks(process.executor()) {
    tasks.spawn("agent", [this] { return agent.run(); });
  }

  static AgentOptions optionsOf(const AgentBench& bench, sim::Process& process) {
    AgentOptions options = bench.options;
    options.host = "h1";
    options.boot_id = bench.host.bootId();
    options.hardware_uuid = bench.host.hardwareUuid();
    options.agent_version = "test";
    options.uptime = [&process]() { return process.clock().now().since_start; };
    return options;
  }

  sim::SimJournal journal;
  sim::SimHypervisor hypervisor;
  std::unique_ptr<Dialer> dialer;
  Rng rng;
  NoFaults faults;
  Agent agent;
  TaskGroup tasks;
};

AgentBench::AgentBench(std::uint64_t seed)
    : world(seed),
      network(world),
      host(world, "h1", 16, std::uint64_t{64} << 30U),
      disk(world, "h1"),
      engine(world, network),
      agent_rng_(world.rng().fork()),
      process_(world.addProcess("h1")) {
  host.onChange([this](const sim::SimHost&, sim::DomainChange change, const sim::SimDomain& d) {
    if (!d.info.claim) return;
    if (change == sim::DomainChange::Appeared) ++appeared[d.info.claim->ref.attempt];
    if (change == sim::DomainChange::Resumed) ++resumed[d.info.claim->ref.attempt];
  });
}

AgentBench::~AgentBench() = default;

void AgentBench::startAgent() {
  process_.start([this](sim::Process& process) {
    auto root = std::make_shared<Root>(*this, process);
    root_ = root;
    return root;
  });
}

void AgentBench::crashAgent() { process_.crash(); }

Agent& AgentBench::agent() {
  const std::shared_ptr<Root> root = root_.lock();
  VMS_CHECK(root != nullptr, "the agent runs");
  return root->agent;
}

bool AgentBench::until(const std::function<bool()>& done, Duration limit) {
  return world.runUntil(done, world.now() + limit);
}

bool AgentBench::untilReady() {
  return until([this] {
    return agentRuns() && agent().status().readiness == AgentReadiness::Ready &&
           agent().status().session != 0 && engine.session() == agent().status().session;
  });
}

VmId AgentBench::vm(std::uint8_t number) {
  Uuid uuid;
  uuid.bytes.fill(0x11);
  uuid.bytes[15] = number;
  return VmId{uuid};
}

AttemptRef AgentBench::ref(std::uint8_t vm_number, std::uint64_t epoch, std::uint8_t attempt) {
  Uuid uuid;
  uuid.bytes.fill(0x22);
  uuid.bytes[13] = attempt;
  uuid.bytes[14] = static_cast<std::uint8_t>(epoch);
  uuid.bytes[15] = vm_number;
  return AttemptRef{AttemptId{uuid}, vm(vm_number), Epoch{epoch}};
}

proto::CreateItem AgentBench::item(const AttemptRef& ref, bool paused) {
  proto::CreateItem item;
  item.set_attempt(ref.attempt.uuid.toBytes());
  item.set_vm(ref.vm.uuid.toBytes());
  item.set_epoch(ref.epoch.value);
  item.set_name("vm-" + std::to_string(ref.vm.uuid.bytes[15]));
  item.set_domain_xml("<domain/>");
  item.set_memory(std::uint64_t{1} << 30U);
  item.set_vcpus(1);
  item.set_paused(paused);
  return item;
}

void AgentBench::create(const std::vector<proto::CreateItem>& items) {
  proto::Frame frame;
  proto::BulkCreate& bulk = *frame.mutable_bulk_create();
  bulk.set_batch(std::string(16, 'b'));
  for (const proto::CreateItem& one : items) *bulk.add_items() = one;
  engine.send(std::move(frame));
}

void AgentBench::command(const AttemptRef& ref, proto::Command::Kind kind) {
  proto::Frame frame;
  refToProto(ref, frame.mutable_command()->mutable_ref());
  frame.mutable_command()->set_kind(kind);
  frame.mutable_command()->set_number(next_number_++);
  frame.mutable_command()->set_name(item(ref).name());
  engine.send(std::move(frame));
}

const sim::SimDomain* AgentBench::domain(const AttemptRef& ref) const {
  const auto found = host.domains().find(ref.vm);
  if (found == host.domains().end() || !found->second.info.claim) return nullptr;
  return found->second.info.claim->ref == ref ? &found->second : nullptr;
}

std::size_t AgentBench::outcomes(const AttemptRef& ref, proto::Outcome::Kind kind) const {
  std::size_t found = 0;
  for (const proto::Outcome& outcome : engine.outcomesOf(ref.attempt)) {
    found += outcome.kind() == kind ? 1U : 0U;
  }
  return found;
}

bool AgentBench::hasOutcome(const AttemptRef& ref, proto::Outcome::Kind kind) const {
  return outcomes(ref, kind) > 0;
}

const proto::CommandAnswer* AgentBench::answer(const AttemptRef& ref) {
  std::vector<proto::CommandAnswer> answers = engine.answersOf(ref.attempt);
  if (answers.empty()) return nullptr;
  found_ = std::move(answers.back());
  return &*found_;
}

std::unique_ptr<AgentBench> readyBench(std::uint64_t seed) {
  auto bench = std::make_unique<AgentBench>(seed);
  bench->startAgent();
  VMS_CHECK(bench->untilReady(), "the agent becomes ready");
  return bench;
}

}  // namespace vms::hostagent
