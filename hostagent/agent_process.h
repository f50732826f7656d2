#pragma once

#include <filesystem>

#include "hostagent/agent_config.h"
#include "schema/base/error.h"

namespace vms::hostagent {

/// Runs the agent on this machine until SIGTERM or SIGINT, then ends within 5 s; domains go on. An
/// error means that it could not start. `config_path` is read again on SIGHUP.
Result<void> runAgentProcess(AgentConfig config, const std::filesystem::path& config_path);

}  // namespace vms::hostagent
