#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "runner/engine_options.h"
#include "schema/base/error.h"
#include "schema/base/log.h"
#include "schema/base/toml_config.h"

namespace vms::runner {

/// Everything that `vmsrunnerd` reads from its file.
struct EngineConfig {
  std::string name;
  std::filesystem::path state_dir;

  std::string api_listen;
  std::filesystem::path api_certificate, api_key, api_port_file;
  std::int64_t api_connections = 2'000, api_connections_per_token = 500;

  std::string agents_listen;
  std::filesystem::path agents_certificate, agents_key, agents_client_ca, agents_crl,
      agents_port_file;

  EngineOptions engine;
  std::uint64_t store_reserve = 0;
  Duration retention{};
  std::int64_t io_threads = 2;
  log::Level log_level = log::Level::Info;
  std::vector<ConfigKey> keys;  ///< As the file has them; set by the loading function.
};

/// The engine's store.
std::filesystem::path storePath(const EngineConfig& config);

/// Reads every key; errors are remembered in `file` for its `finish()`.
EngineConfig readEngineConfig(TomlConfig& file);

/// The page about every key, as Markdown.
std::string engineConfigReference();

/// The files that expire; some may be empty.
std::vector<std::filesystem::path> certificatesOf(const EngineConfig& config);

/// Loads and checks a whole file. Invalid names file, line and key.
Result<EngineConfig> loadEngineConfig(const std::filesystem::path& path);

}  // namespace vms::runner
