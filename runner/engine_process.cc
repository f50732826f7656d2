#include "runner/engine_process.h"

#include <sys/resource.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <optional>

#include "runner/api/api.h"
#include "runner/api/token.h"
#include "runner/engine_daemon.h"
#include "runner/metrics.h"
#include "runner/process_figures.h"
#include "runner/sqlite_store.h"
#include "schema/base/asio_clock.h"
#include "schema/base/certificate.h"
#include "schema/base/certificate_watch.h"
#include "schema/base/daemon_signals.h"
#include "schema/base/files.h"
#include "schema/base/io_threads.h"
#include "schema/base/log.h"
#include "schema/base/net_address.h"
#include "schema/base/task_group.h"
#include "schema/base/websocket_transport.h"

namespace vms::runner {
namespace {

/// Every client and agent is a descriptor, and the usual soft limit suits programs that use select.
void raiseDescriptorLimit(std::size_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted) {
    log::warn(
        "this process may hold {} descriptors, which is less than the {} connections that "
        "it would serve; raise LimitNOFILE of its unit, or 'ulimit -Hn'",
        limit.rlim_cur, wanted);
  }
}

Result<void> makeStateDir(const std::filesystem::path& dir) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) {
    return Error{ErrorClass::Unavailable,
                 "the state directory " + dir.string() + " cannot be made: " + error.message()};
  }
  return {};
}

SqliteStoreOptions storeOptions(const EngineConfig& config, const ProcessOptions& options) {
  SqliteStoreOptions store;
  store.path = storePath(config);
  store.restored = options.restored;
  store.commit_delay = options.commit_delay;
  store.reserve_bytes = config.store_reserve;
  store.retention = config.retention;
  return store;
}

Result<void> writePortFile(const std::filesystem::path& file, const std::string& address) {
  if (file.empty()) return {};
  return writeFileAtomically(file, address + "\n");
}

/// The daemon, its API and its signals on one thread.
class Process {
 public:
  Process(const EngineConfig& config, const ProcessOptions& options)
      : config_(config),
        options_(options),
        io_threads_("vms-io", static_cast<std::size_t>(config.io_threads)),
        rng_(seedFromSystem()),
        group_(io_.get_executor()),
        signals_(io_, clock_, {[this] { daemon_->stop(); }, [this] { reload(); }}) {}

  Result<void> start();
  void run() { io_.run(); }

 private:
  Result<void> startListening();
  asio::awaitable<void> serve();
  void reload();

  const EngineConfig& config_;
  const ProcessOptions& options_;
  asio::io_context io_{1};
  IoThreads io_threads_;
  AsioClock clock_;
  Rng rng_;
  NoFaults faults_;
  std::unique_ptr<SqliteStore> store_;
  std::unique_ptr<WebSocketListener> listener_;
  std::optional<EngineDaemon> daemon_;
  std::optional<api::Api> api_;
  TaskGroup group_;
  DaemonSignals signals_;
};

Result<void> Process::startListening() {
  ListenOptions listen;
  listen.address = config_.agents_listen;
  listen.tls = {config_.agents_certificate, config_.agents_key, config_.agents_client_ca,
                config_.agents_crl};
  listen.dead_after = config_.engine.host_timeout;
  Result<std::unique_ptr<WebSocketListener>> listener =
      listenWebSocket(io_.get_executor(), io_threads_, std::move(listen));
  if (!listener) return withContext(listener.error(), "agents.listen");
  listener_ = std::move(*listener);
  return {};
}

Result<void> Process::start() {
  raiseDescriptorLimit(static_cast<std::size_t>(config_.api_connections));
  if (auto made = makeStateDir(config_.state_dir); !made) return made;
  Result<std::unique_ptr<SqliteStore>> store =
      SqliteStore::open(storeOptions(config_, options_), clock_);
  if (!store) return store.error();
  store_ = std::move(*store);
  if (auto listening = startListening(); !listening) return listening;

  const EngineSeams seams{clock_, *store_, *listener_, rng_, faults_};
  daemon_.emplace(io_.get_executor(), seams, config_.engine);
  if (auto loaded = daemon_->load(); !loaded) return loaded;

  const Result<NetAddress> address = parseNetAddress(config_.api_listen);
  if (!address) return withContext(address.error(), "api.listen");
  api::ApiOptions api;
  api.http.address = address->host;
  api.http.port = address->port;
  api.http.certificate_file = config_.api_certificate;
  api.http.key_file = config_.api_key;
  api.http.connections = static_cast<std::size_t>(config_.api_connections);
  api.http.token_connections = static_cast<std::size_t>(config_.api_connections_per_token);
  api.metrics = [this](const EngineFigures& engine) {
    return metricsText({engine, store_->figures(), api_->figures(), readProcessFigures()});
  };
  api_.emplace(daemon_->service(), clock_, io_.get_executor(), io_threads_.context().get_executor(),
               std::move(api));
  if (auto serving = api_->start(); !serving) return withContext(serving.error(), "api");

  signals_.start();
  group_.spawn("certificates",
               [this] { return watchCertificates(clock_, certificatesOf(config_)); });
  group_.spawn("engine", [this] { return serve(); });

  const std::string api_address = formatNetAddress({address->host, api_->boundPort()});
  if (auto ok = writePortFile(config_.agents_port_file, listener_->boundAddress()); !ok) return ok;
  if (auto ok = writePortFile(config_.api_port_file, api_address); !ok) return ok;
  log::info("{} {} is up: API at https://{}, agents at {}", config_.name, VMS_VERSION, api_address,
            listener_->boundAddress());
  DaemonSignals::announceReady();
  return {};
}

asio::awaitable<void> Process::serve() {
  co_await daemon_->run();
  co_await api_->stop();
  signals_.end();
  group_.cancel();
}

void Process::reload() {
  const Result<EngineConfig> fresh = loadEngineConfig(options_.config_path);
  if (!fresh) {
    log::error("SIGHUP: nothing reloaded: {}", fresh.error().message);
    return;
  }
  log::setLevel(fresh->log_level);
  bool all_replaced = true;
  const auto replace = [&](const std::filesystem::path& file, const char* whose, auto&& read) {
    Result<void> replaced = refuseExpired(file, clock_.wallNow());
    if (replaced) replaced = read();
    if (!replaced) {
      all_replaced = false;
      log::error("SIGHUP: {} certificates stay as they were: {}", whose, replaced.error().message);
    }
  };
  replace(config_.agents_certificate, "the agents' listener's",
          [&] { return listener_->reload(); });
  replace(config_.api_certificate, "the API's", [&] { return api_->reloadCertificate(); });
  warnOfExpiry(clock_, certificatesOf(config_));
  log::info("SIGHUP: {} read again{}",
            all_replaced ? "log level and certificates were" : "the log level was",
            restartNote(config_.keys, fresh->keys));
}

}  // namespace

Result<void> runEngine(const EngineConfig& config, const ProcessOptions& options) {
  Process process(config, options);
  if (auto started = process.start(); !started) return started;
  process.run();
  log::info("stopped");
  return {};
}

Result<void> createAdminToken(const EngineConfig& config, const std::filesystem::path& file) {
  if (auto made = makeStateDir(config.state_dir); !made) return made;
  const AsioClock clock;
  Result<std::unique_ptr<SqliteStore>> store = SqliteStore::open(storeOptions(config, {}), clock);
  if (!store) {
    return withContext(store.error(),
                       "while an engine runs, make tokens with 'vmsctl token create'");
  }
  const api::MintedToken token = api::mintToken("admin", "first admin", clock.wallNow());
  if (auto written = api::writeTokenFile(file, token.text); !written) return written;

  asio::io_context io(1);
  Result<void> outcome = Error{ErrorClass::Internal, "the store did not answer"};
  SqliteStore& opened = **store;
  asio::co_spawn(
      io,
      [&]() -> asio::awaitable<void> {
        std::vector<Change> changes;
        changes.emplace_back(token.record);
        const Result<CommitNumber> number = co_await opened.commit(std::move(changes));
        outcome = number ? Result<void>() : Result<void>(number.error());
      },
      [](std::exception_ptr) {});
  io.run();
  if (!outcome) std::filesystem::remove(file);
  return outcome;
}

}  // namespace vms::runner
