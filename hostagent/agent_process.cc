#include "hostagent/agent_process.h"

#include <boost/asio/io_context.hpp>
#include <memory>
#include <optional>
#include <utility>

#include "hostagent/sqlite_journal.h"
#include "schema/base/asio_clock.h"
#include "schema/base/certificate.h"
#include "schema/base/certificate_watch.h"
#include "schema/base/daemon_signals.h"
#include "schema/base/file_lock.h"
#include "schema/base/io_threads.h"
#include "schema/base/task_group.h"

namespace vms::hostagent {
namespace {

/// The agent, its seams and its signals on one thread.
class Process {
 public:
  Process(AgentConfig config, std::filesystem::path config_path)
      : config_(std::move(config)),
        config_path_(std::move(config_path)),
        io_threads_("vms-io", 1),
        rng_(seedFromSystem()),
        tasks_(io_.get_executor()),
        signals_(io_, clock_, {[this] { agent_->stop(); }, [this] { reload(); }}) {}

  Result<void> start();
  Result<void> run();

 private:
  void makeHypervisor();
  asio::awaitable<void> work();
  void reload();

  AgentConfig config_;
  const std::filesystem::path config_path_;
  asio::io_context io_{1};
  IoThreads io_threads_;
  AsioClock clock_;
  Rng rng_;
  NoFaults faults_;
  std::optional<FileLock> lock_;
  std::unique_ptr<SqliteJournal> journal_;
  std::unique_ptr<Dialer> dialer_;
  std::unique_ptr<Hypervisor> hypervisor_;
  std::optional<Agent> agent_;
  TaskGroup tasks_;
  DaemonSignals signals_;
};

void Process::makeHypervisor() {
  const asio::any_io_executor owner = io_.get_executor();
  switch (config_.hypervisor) {
    case HypervisorType::Libvirt:
      hypervisor_ = makeLibvirtHypervisor(owner, clock_, rng_, config_.libvirt);
      return;
    case HypervisorType::Simulated:
      hypervisor_ = std::make_unique<SimulatedHypervisor>(owner, clock_, rng_, config_.simulated);
      return;
  }
}

Result<void> Process::start() {
  if (Result<void> detected = detectHost(config_); !detected) return detected;
  std::error_code made;
  std::filesystem::create_directories(config_.state_dir, made);
  if (made) {
    return Error(ErrorClass::Unavailable, "the state directory " + config_.state_dir.string() +
                                              " cannot be made: " + made.message());
  }
  Result<FileLock> lock = FileLock::acquire(config_.state_dir / "agent.lock",
                                            "the state directory " + config_.state_dir.string());
  if (!lock) return lock.error();
  lock_.emplace(std::move(*lock));

  SqliteJournalOptions journal_options;
  journal_options.path = config_.state_dir / "journal.db";
  Result<std::unique_ptr<SqliteJournal>> journal = SqliteJournal::open(journal_options);
  if (!journal) return journal.error();
  journal_ = std::move(*journal);
  dialer_ = makeWebSocketDialer(io_.get_executor(), io_threads_, config_.dial);
  makeHypervisor();
  const AgentSeams seams{clock_, *dialer_, *journal_, *hypervisor_, rng_, faults_};
  agent_.emplace(io_.get_executor(), seams, config_.agent);

  signals_.start();
  tasks_.spawn("certificates",
               [this] { return watchCertificates(clock_, certificatesOf(config_)); });
  tasks_.spawn("agent", [this] { return work(); });
  log::info("host {} starts: vmshostd {}, {} cpus, {} MiB, boot {}, engine {}", config_.agent.host,
            VMS_VERSION, config_.agent.capacity.cpus, config_.agent.capacity.memory >> 20U,
            config_.agent.boot_id, config_.dial.address);
  DaemonSignals::announceReady();
  return boost::system::in_place_value;
}

Result<void> Process::run() {
  io_.run();
  if (agent_->failure()) return *agent_->failure();
  return boost::system::in_place_value;
}

asio::awaitable<void> Process::work() {
  co_await agent_->run();
  signals_.end();
  tasks_.cancel();
}

void Process::reload() {
  const Result<AgentConfig> fresh = loadAgentConfig(config_path_);
  if (!fresh) {
    log::error("SIGHUP: nothing reloaded: {}", fresh.error().message);
    return;
  }
  log::setLevel(fresh->log_level);
  // Read again at every connection; here is only said what will happen then.
  const Result<TlsContext> tls = makeClientTls(config_.dial.tls);
  if (!tls) {
    log::error("SIGHUP: the certificates stay as they were: {}", tls.error().message);
  }
  warnOfExpiry(clock_, certificatesOf(config_));
  log::info("SIGHUP: the log level was read again; certificates are read at every connection{}",
            restartNote(config_.keys, fresh->keys));
}

}  // namespace

Result<void> runAgentProcess(AgentConfig config, const std::filesystem::path& config_path) {
  Process process(std::move(config), config_path);
  if (Result<void> started = process.start(); !started) return started;
  const Result<void> ran = process.run();
  log::info("stopped");
  return ran;
}

}  // namespace vms::hostagent
