#pragma once

#include <filesystem>

#include "runner/engine_config.h"
#include "schema/base/error.h"

namespace vms::runner {

/// `vmsrunnerd --backup FILE`: copies the engine's store to a new file and prints what the copy
/// holds; progress goes to a terminal. An engine may run meanwhile.
Result<void> backupCommand(const EngineConfig& config, const std::filesystem::path& file);

}  // namespace vms::runner
