#include "hostagent/agent_config.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "schema/base/files.h"
#include "schema/base/memory_size.h"
#include "schema/base/net_address.h"

namespace vms::hostagent {
namespace {

constexpr std::size_t kIdBytesMax = 128;

std::uint32_t usableCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<std::uint32_t>(std::max(1, CPU_COUNT(&set)));
}

std::uint64_t installedMemory() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page <= 0) return 0;
  return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
}

std::size_t readCount(TomlConfig& file, std::string_view key, std::size_t value, std::int64_t min,
                      std::int64_t max, std::string_view text) {
  return static_cast<std::size_t>(
      file.readInt(key, static_cast<std::int64_t>(value), min, max, text));
}

void readAgent(TomlConfig& file, AgentConfig& config) {
  AgentOptions& agent = config.agent;
  agent.host = file.requireString(
      "agent.host", "Name of this host: the CN of its certificate, 1 to 64 of [a-z0-9.-].");
  if (!agent.host.empty() && !isValidHostId(agent.host)) {
    file.fail("agent.host",
              "give 1 to 64 of [a-z0-9.-], starting and ending with a letter or digit");
  }
  config.state_dir = file.requirePath(
      "agent.state_dir", "Folder of the journal; created if missing, of this agent alone.");
  config.dial.address = file.requireString(
      "agent.engine", "Address and port of the engine's agent listener, such as \"engine:7443\".");
  if (!config.dial.address.empty()) {
    const Result<NetAddress> address = parseNetAddress(config.dial.address);
    if (!address) file.fail("agent.engine", address.error().message);
  }
  config.dial.tls.certificate =
      file.requirePath("agent.certificate", "PEM certificate of this host.");
  config.dial.tls.key = file.requirePath("agent.key", "PEM key of that certificate.");
  config.dial.tls.ca = file.requirePath(
      "agent.ca", "PEM certificates that the engine's certificate must come from.");
  config.dial.tls.crl =
      file.readPath("agent.crl", "",
                    "PEM list of revoked certificates, the authority's ca.crl; empty: none are.");
  config.dial.server_name = file.readString(
      "agent.engine_name", "",
      "Name that the engine's certificate must be for; empty: the host of agent.engine.");
  config.boot_id_file = file.readPath(
      "agent.boot_id_file", "/proc/sys/kernel/random/boot_id",
      "File with what changes at each boot; for containers and several agents on one machine.");
  config.hardware_uuid_file =
      file.readPath("agent.hardware_uuid_file", "/sys/class/dmi/id/product_uuid",
                    "File with what identifies the hardware, enrolled at the first contact.");
}

void readCapacity(TomlConfig& file, AgentConfig& config) {
  config.agent.capacity.cpus = static_cast<std::uint32_t>(file.readInt(
      "capacity.cpus", 0, 0, 65'536, "Processors offered to domains; 0: those of this machine."));
  config.agent.capacity.memory =
      file.readSize("capacity.memory", 0, 0, 1024 * kTiB,
                    "Memory offered to domains; \"0B\": that of this machine less the reserve.");
  config.memory_reserve =
      file.readSize("capacity.reserve", kGiB, 0, 1024 * kTiB,
                    "Kept for the host itself when the memory is detected; at most half of it.");
}

void readHypervisor(TomlConfig& file, AgentConfig& config) {
  const std::string type =
      file.readChoice("hypervisor.type", "libvirt", {"libvirt", "simulated"},
                      "What builds domains; simulated: a table in memory, for load tests.");
  config.hypervisor = type == "simulated" ? HypervisorType::Simulated : HypervisorType::Libvirt;
  config.libvirt.uri = file.readString("hypervisor.uri", config.libvirt.uri, "libvirt's URI.");
  config.agent.hypervisor_timeout = file.readDuration(
      "hypervisor.timeout", config.agent.hypervisor_timeout, seconds(1), seconds(3600),
      "Without an answer for so long the hypervisor counts as away and the host as not ready.");
  config.libvirt.create_connections = readCount(
      file, "hypervisor.connections", config.libvirt.create_connections, 1, 64,
      "Connections to libvirt for creates, and as many for resume, shutdown and destroy.");
  config.libvirt.control_connections = config.libvirt.create_connections;
  config.libvirt.calls_per_connection = readCount(
      file, "hypervisor.calls_per_connection", config.libvirt.calls_per_connection, 1, 256,
      "Calls at once on one of them; must stay below max_client_requests in libvirtd.conf.");
}

void readLanes(TomlConfig& file, AgentOptions& agent) {
  agent.create_width = readCount(file, "lanes.create_width", 0, 0, 1'024,
                                 "Builds at once; 0: the number of processors.");
  if (agent.create_width == 0) agent.create_width = usableCpus();
  agent.destroy_width =
      readCount(file, "lanes.destroy_width", agent.destroy_width, 1, 1'024, "Force-offs at once.");
  agent.intake =
      readCount(file, "lanes.intake", 0, 0, 100'000,
                "Accepted creates that wait for a build; 0: max(256, 8 * create_width).");
}

void readSimulated(TomlConfig& file, SimulatedOptions& simulated) {
  BuildTime& build = simulated.build;
  const std::string kind =
      file.readChoice("simulated.build", "lognormal", {"constant", "uniform", "lognormal"},
                      "Distribution of the build time.");
  build.kind = kind == "constant"  ? BuildTime::Kind::Constant
               : kind == "uniform" ? BuildTime::Kind::Uniform
                                   : BuildTime::Kind::Lognormal;
  build.median = file.readDuration("simulated.build_median", build.median, Duration{}, seconds(600),
                                   "Median, or the constant, of the build time.");
  build.sigma = file.readNumber("simulated.build_sigma", build.sigma, 0.0, 3.0,
                                "Sigma of the log-normal distribution.");
  build.min = file.readDuration("simulated.build_min", build.min, Duration{}, seconds(600),
                                "Shortest build.");
  build.max = file.readDuration("simulated.build_max", build.max, Duration{}, seconds(600),
                                "Longest build.");
  if (build.max < build.min) file.fail("simulated.build_max", "must not be below build_min");
  simulated.failure = file.readNumber("simulated.failure", simulated.failure, 0.0, 1.0,
                                      "Probability that a create is rejected.");
}

Result<std::string> readIdFile(const std::filesystem::path& path, std::string_view key) {
  const std::string advice = "; set " + std::string(key) + " to a file that can be read";
  const Result<std::string> text = readFile(path, 4096);
  if (!text) return Error(text.error().error_class, text.error().message + advice);
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t first = text->find_first_not_of(kBlanks);
  const std::size_t last = text->find_last_not_of(kBlanks);
  std::string id =
      first == std::string::npos ? std::string() : text->substr(first, last - first + 1);
  const bool printable =
      std::all_of(id.begin(), id.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  if (id.empty() || id.size() > kIdBytesMax || !printable) {
    return Error(ErrorClass::Invalid,
                 path.string() + ": not one id of 1 to 128 printable characters" + advice);
  }
  return id;
}

}  // namespace

AgentConfig readAgentConfig(TomlConfig& file) {
  AgentConfig config;
  config.agent.agent_version = VMS_VERSION;
  readAgent(file, config);
  readCapacity(file, config);
  readHypervisor(file, config);
  readLanes(file, config.agent);
  readSimulated(file, config.simulated);
  const std::string level = file.readChoice("log.level", "info", {"debug", "info", "warn", "error"},
                                            "The least important messages that are written.");
  config.log_level = log::parseLevel(level).value_or(log::Level::Info);
  for (const char* const key : {"agent.certificate", "agent.key", "agent.ca", "agent.crl"}) {
    file.reloadsContent(key);
  }
  file.reloadsValue("log.level");
  return config;
}

std::string agentConfigReference() {
  TomlConfig documentation = TomlConfig::forDocumentation();
  readAgentConfig(documentation);
  return configReference("vmshostd", documentation.keys());
}

Result<AgentConfig> loadAgentConfig(const std::filesystem::path& path) {
  Result<TomlConfig> file = TomlConfig::load(path);
  if (!file) return file.error();
  AgentConfig config = readAgentConfig(*file);
  if (Result<void> finished = file->finish(); !finished) return finished.error();
  config.keys = file->keys();
  return config;
}

std::vector<std::filesystem::path> certificatesOf(const AgentConfig& config) {
  return {config.dial.tls.certificate, config.dial.tls.ca};
}

Result<void> detectHost(AgentConfig& config) {
  Result<std::string> boot_id = readIdFile(config.boot_id_file, "agent.boot_id_file");
  if (!boot_id) return boot_id.error();
  Result<std::string> hardware = readIdFile(config.hardware_uuid_file, "agent.hardware_uuid_file");
  if (!hardware) return hardware.error();
  config.agent.boot_id = std::move(*boot_id);
  config.agent.hardware_uuid = std::move(*hardware);
  config.simulated.host_uuid = config.agent.hardware_uuid;
  AgentCapacity& capacity = config.agent.capacity;
  if (capacity.cpus == 0) capacity.cpus = usableCpus();
  if (capacity.memory == 0) {
    const std::uint64_t installed = installedMemory();
    capacity.memory = installed - std::min(config.memory_reserve, installed / 2);
  }
  return boost::system::in_place_value;
}

}  // namespace vms::hostagent
