#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "hostagent/agent.h"
#include "hostagent/libvirt/libvirt_hypervisor.h"
#include "hostagent/simulated/simulated_hypervisor.h"
#include "schema/base/error.h"
#include "schema/base/log.h"
#include "schema/base/toml_config.h"
#include "schema/base/websocket_transport.h"

namespace vms::hostagent {

enum class HypervisorType { Libvirt, Simulated };

/// The configuration file of vmshostd.
struct AgentConfig {
  std::filesystem::path state_dir;
  std::filesystem::path boot_id_file;
  std::filesystem::path hardware_uuid_file;
  DialOptions dial;
  HypervisorType hypervisor = HypervisorType::Libvirt;
  LibvirtOptions libvirt;
  SimulatedOptions simulated;
  std::uint64_t memory_reserve = 0;  ///< Taken off the detected memory.
  log::Level log_level = log::Level::Info;
  std::vector<ConfigKey> keys;  ///< As the file has them; set by the loading function.
  /// Complete but for what `detectHost` finds out.
  AgentOptions agent;
};

/// Reads every key; what is wrong is remembered in `file` for its `finish()`.
AgentConfig readAgentConfig(TomlConfig& file);
/// Invalid, with file, line and key, if anything is wrong; nothing outside the file is looked at.
Result<AgentConfig> loadAgentConfig(const std::filesystem::path& path);

/// The page about every key, as Markdown.
std::string agentConfigReference();

/// The files that expire.
std::vector<std::filesystem::path> certificatesOf(const AgentConfig& config);

/// Fills in what the machine knows: boot id, hardware UUID, and the capacity unless it is
/// configured. An error names the file that cannot be read and the key that replaces it.
Result<void> detectHost(AgentConfig& config);

}  // namespace vms::hostagent
