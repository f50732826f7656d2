#include "runner/engine_config.h"

#include "schema/base/memory_size.h"

namespace vms::runner {
namespace {

void readWindow(TomlConfig& file, batcher::WindowPolicy& window) {
  using Mode = batcher::WindowPolicy::Mode;
  const std::string text = file.readString(
      "batching.window", "adaptive",
      "How long commands for a host gather: \"adaptive\", \"fixed:<ms>\" or \"off\".");
  constexpr std::string_view kFixed = "fixed:";
  if (text == "adaptive") {
    window.mode = Mode::Adaptive;
  } else if (text == "off") {
    window.mode = Mode::Off;
  } else if (text.starts_with(kFixed)) {
    window.mode = Mode::Fixed;
    const auto delay = parseDuration(text.substr(kFixed.size()) + "ms");
    if (delay && *delay <= seconds(10)) {
      window.fixed = *delay;
    } else {
      file.fail("batching.window",
                "give 'fixed:' and 0 to 10000 milliseconds, such as \"fixed:50\"");
    }
  } else {
    file.fail("batching.window", "give \"adaptive\", \"fixed:<ms>\" or \"off\"");
  }
  window.max_delay =
      file.readDuration("batching.max_delay", window.max_delay, milliseconds(1), seconds(10),
                        "Adaptive: the longest that a command waits for company.");
  window.max_items = static_cast<std::size_t>(
      file.readInt("batching.max_items", static_cast<std::int64_t>(window.max_items), 1, 4'096,
                   "Commands in one bulk create."));
  window.max_bytes = static_cast<std::size_t>(file.readSize(
      "batching.max_bytes", window.max_bytes, 64 * kKiB, 32 * kMiB, "Size of one bulk create."));
}

void readRetry(TomlConfig& file, batcher::RetryOptions& retry) {
  retry.max_tries = static_cast<std::uint32_t>(
      file.readInt("retry.max_tries", retry.max_tries, 1, 100, "Hosts that one run is tried on."));
  retry.first = file.readDuration("retry.first", retry.first, milliseconds(1), seconds(60),
                                  "Back-off after the first failed try; doubles with each.");
  retry.cap = file.readDuration("retry.cap", retry.cap, milliseconds(1), std::chrono::hours(1),
                                "The longest back-off of a user's run.");
}

void readHosts(TomlConfig& file, EngineOptions& engine) {
  engine.heartbeat = file.readDuration("hosts.heartbeat", engine.heartbeat, milliseconds(100),
                                       seconds(60), "Between two heartbeats to an agent.");
  engine.suspect_after =
      file.readDuration("hosts.suspect_after", engine.suspect_after, milliseconds(200),
                        seconds(600), "Silence until a host gets no new work.");
  engine.host_timeout =
      file.readDuration("hosts.host_timeout", engine.host_timeout, milliseconds(500),
                        std::chrono::hours(1), "Silence until what runs on a host is unknown.");
  engine.hypervisor_timeout = file.readDuration(
      "hosts.hypervisor_timeout", engine.hypervisor_timeout, seconds(1), std::chrono::hours(1),
      "How long a host's hypervisor may stay silent until the host is not ready.");
  if (engine.suspect_after < engine.heartbeat || engine.host_timeout < engine.suspect_after) {
    file.fail("hosts.host_timeout", "the order is heartbeat <= suspect_after <= host_timeout");
  }
}

}  // namespace

EngineConfig readEngineConfig(TomlConfig& file) {
  EngineConfig config;
  config.name = file.readString("engine.name", "vmsrunnerd", "Name of this engine, for people.");
  config.state_dir =
      file.requirePath("engine.state_dir",
                       "Folder of the database, its marks and its reserve; must exist or be "
                       "creatable, and belong to this engine alone.");
  config.io_threads = file.readInt("engine.io_threads", config.io_threads, 1, 64,
                                   "Threads for TLS, framing and HTTP.");

  config.api_listen = file.readString("api.listen", "127.0.0.1:8443",
                                      "Address and port of the HTTP API; port 0 takes a free one.");
  config.api_certificate = file.requirePath("api.certificate", "PEM certificate of the HTTP API.");
  config.api_key = file.requirePath("api.key", "PEM key of that certificate.");
  config.api_port_file = file.readPath("api.port_file", "",
                                       "File that gets HOST:PORT once the API is up; empty: none.");
  config.api_connections = file.readInt("api.connections", config.api_connections, 10, 100'000,
                                        "Connections of clients, each a descriptor; more displace "
                                        "the oldest that waits and has shown "
                                        "no token, or are refused.");
  config.api_connections_per_token =
      file.readInt("api.connections_per_token", config.api_connections_per_token, 1, 100'000,
                   "Of those, with the same token; more are refused.");

  config.agents_listen =
      file.readString("agents.listen", "127.0.0.1:7443",
                      "Address and port that agents dial; port 0 takes a free one.");
  config.agents_certificate =
      file.requirePath("agents.certificate", "PEM certificate shown to agents.");
  config.agents_key = file.requirePath("agents.key", "PEM key of that certificate.");
  config.agents_client_ca =
      file.requirePath("agents.client_ca", "PEM certificate of the authority that signs agents'.");
  config.agents_crl =
      file.readPath("agents.crl", "",
                    "PEM list of revoked certificates, the authority's ca.crl; empty: none are.");
  config.agents_port_file = file.readPath(
      "agents.port_file", "", "File that gets HOST:PORT once agents can dial; empty: none.");

  readWindow(file, config.engine.window);
  config.engine.vcpu_ratio =
      file.readNumber("placement.vcpu_ratio", config.engine.vcpu_ratio, 0.1, 10'000.0,
                      "vCPUs that one physical CPU may carry; memory is never over-committed.");
  readRetry(file, config.engine.retry);
  readHosts(file, config.engine);

  config.engine.max_open_runs = static_cast<std::size_t>(
      file.readInt("limits.open_runs", static_cast<std::int64_t>(config.engine.max_open_runs), 1,
                   10'000'000, "Runs without an outcome; more are refused."));
  config.engine.max_request_vms = static_cast<std::size_t>(
      file.readInt("limits.request_vms", static_cast<std::int64_t>(config.engine.max_request_vms),
                   1, 1'000'000, "VMs in one request."));

  config.store_reserve =
      file.readSize("store.reserve", 16 * kMiB, kMiB, 16 * kGiB,
                    "Space kept for the results of what is under way when the disk is full.");
  config.retention =
      file.readDuration("store.retention", std::chrono::hours(24 * 400), std::chrono::hours(24),
                        std::chrono::hours(24 * 36'500), "Age at which history is removed.");

  const std::string level =
      file.readChoice("log.level", "info", {"debug", "info", "warn", "error"}, "What is logged.");
  config.log_level = log::parseLevel(level).value_or(log::Level::Info);
  for (const char* const key : {"api.certificate", "api.key", "agents.certificate", "agents.key",
                                "agents.client_ca", "agents.crl"}) {
    file.reloadsContent(key);
  }
  file.reloadsValue("log.level");
  return config;
}

std::string engineConfigReference() {
  TomlConfig documentation = TomlConfig::forDocumentation();
  readEngineConfig(documentation);
  return configReference("vmsrunnerd", documentation.keys());
}

std::filesystem::path storePath(const EngineConfig& config) {
  return config.state_dir / "engine.db";
}

std::vector<std::filesystem::path> certificatesOf(const EngineConfig& config) {
  std::vector<std::filesystem::path> files = {config.api_certificate, config.agents_client_ca};
  if (config.agents_certificate != config.api_certificate) {
    files.push_back(config.agents_certificate);
  }
  return files;
}

Result<EngineConfig> loadEngineConfig(const std::filesystem::path& path) {
  Result<TomlConfig> file = TomlConfig::load(path);
  if (!file) return file.error();
  EngineConfig config = readEngineConfig(*file);
  if (const Result<void> ok = file->finish(); !ok) return ok.error();
  config.keys = file->keys();
  return config;
}

}  // namespace vms::runner
