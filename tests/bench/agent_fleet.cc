#include "tests/bench/agent_fleet.h"

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <thread>
#include <utility>
#include <vector>

#include "hostagent/agent.h"
#include "hostagent/simulated/simulated_hypervisor.h"
#include "hostagent/sqlite_journal.h"
#include "schema/base/asio_clock.h"
#include "schema/base/io_threads.h"
#include "schema/base/pki.h"
#include "schema/base/task_group.h"
#include "schema/base/websocket_transport.h"

namespace vms::bench {
namespace {

constexpr std::uint32_t kCpus = 64;

struct Host {
  explicit Host(std::uint64_t seed) : rng(seed) {}

  Rng rng;
  std::unique_ptr<hostagent::SqliteJournal> journal;
  std::unique_ptr<Dialer> dialer;
  std::unique_ptr<hostagent::SimulatedHypervisor> hypervisor;
  std::unique_ptr<hostagent::Agent> agent;
};

}  // namespace

struct AgentFleet::Impl {
  Impl() : io_threads("bench-io", 1), agents(io.get_executor()), work(io.get_executor()) {}

  Result<void> add(const FleetSettings& settings, const std::filesystem::path& folder,
                   const std::filesystem::path& pki, const std::string& engine, WireTap& tap,
                   std::size_t number);
  void countReady();

  asio::io_context io{1};
  IoThreads io_threads;
  AsioClock clock;
  NoFaults faults;
  std::vector<std::unique_ptr<Host>> hosts;
  TaskGroup agents;
  asio::executor_work_guard<asio::io_context::executor_type> work;
  std::atomic<std::size_t> ready = 0;
  std::thread thread;
};

Result<void> AgentFleet::Impl::add(const FleetSettings& settings,
                                   const std::filesystem::path& folder,
                                   const std::filesystem::path& pki, const std::string& engine,
                                   WireTap& tap, std::size_t number) {
  const std::string name = "h" + std::to_string(number);
  const Result<IssuedFiles> issued = issueHost(pki, name);
  if (!issued) return issued.error();
  auto host = std::make_unique<Host>(settings.seed + number);
  hostagent::SqliteJournalOptions journal;
  journal.path = folder / (name + ".journal.db");
  auto opened = hostagent::SqliteJournal::open(journal);
  if (!opened) return opened.error();
  host->journal = std::move(*opened);

  DialOptions dial;
  dial.address = engine;
  dial.tls = {issued->certificate, issued->key, pki / "ca.crt"};
  const asio::any_io_executor owner = io.get_executor();
  host->dialer = tap.watch(makeWebSocketDialer(owner, io_threads, dial));

  hostagent::SimulatedOptions simulated;
  simulated.host_uuid = name + "-hypervisor";
  simulated.build.kind = hostagent::BuildTime::Kind::Constant;
  simulated.build.median = settings.build;
  host->hypervisor =
      std::make_unique<hostagent::SimulatedHypervisor>(owner, clock, host->rng, simulated);

  hostagent::AgentOptions options;
  options.host = name;
  options.boot_id = name + "-boot";
  options.hardware_uuid = name + "-hardware";
  options.agent_version = VMS_VERSION;
  options.capacity.cpus = kCpus;
  const std::size_t share = settings.vms / settings.hosts + 1;
  options.capacity.memory = 2 * share * kVmMemory;
  options.create_width = settings.width;
  const hostagent::AgentSeams seams{clock,     *host->dialer, *host->journal, *host->hypervisor,
                                    host->rng, faults};
  host->agent = std::make_unique<hostagent::Agent>(owner, seams, options);
  agents.spawn(name, [agent = host->agent.get()] { return agent->run(); });
  hosts.push_back(std::move(host));
  return boost::system::in_place_value;
}

void AgentFleet::Impl::countReady() {
  std::size_t count = 0;
  for (const auto& host : hosts) {
    const hostagent::AgentStatus status = host->agent->status();
    if (status.session != 0 && status.readiness == hostagent::AgentReadiness::Ready) ++count;
  }
  ready = count;
}

AgentFleet::AgentFleet(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<AgentFleet>> AgentFleet::start(const FleetSettings& settings,
                                                      const std::filesystem::path& folder,
                                                      const std::filesystem::path& pki,
                                                      const std::string& engine, WireTap& tap) {
  std::unique_ptr<AgentFleet> fleet(new AgentFleet(std::make_unique<Impl>()));
  Impl& impl = *fleet->impl_;
  for (std::size_t i = 1; i <= settings.hosts; ++i) {
    if (auto added = impl.add(settings, folder, pki, engine, tap, i); !added) return added.error();
  }
  impl.thread = std::thread([&impl] { impl.io.run(); });
  return fleet;
}

AgentFleet::~AgentFleet() {
  Impl& impl = *impl_;
  asio::post(impl.io, [&impl] {
    for (const auto& host : impl.hosts) host->agent->stop();
    impl.work.reset();
  });
  // Without a thread of its own the fleet did not get so far as to start.
  if (impl.thread.joinable()) {
    impl.thread.join();
  } else {
    impl.io.run();
  }
}

std::size_t AgentFleet::ready() const {
  asio::post(impl_->io, [impl = impl_.get()] { impl->countReady(); });
  return impl_->ready;
}

std::uint64_t AgentFleet::journalCommits() const {
  std::uint64_t commits = 0;
  for (const auto& host : impl_->hosts) commits += host->journal->transactions();
  return commits;
}

}  // namespace vms::bench
