#pragma once

#include <filesystem>
#include <string>

#include "runner/engine_config.h"
#include "schema/base/error.h"

namespace vms::runner {

struct ProcessOptions {
  std::filesystem::path config_path;  ///< Read again on SIGHUP.
  bool restored = false;
  Duration commit_delay{};  ///< Injected after each commit, for benchmarks.
};

/// Runs the engine until SIGTERM or SIGINT; returns after everything has ended cleanly, at the
/// latest 5 s after the signal. An error means that it could not start.
Result<void> runEngine(const EngineConfig& config, const ProcessOptions& options);

/// Makes a token of role admin in the engine's store and writes it to a new file. The engine must
/// not be running.
Result<void> createAdminToken(const EngineConfig& config, const std::filesystem::path& file);

}  // namespace vms::runner
