#include "hostagent/agent_config.h"
#include "runner/engine_config.h"
#include "schema/base/toml_config.h"
#include "tests/fuzz/target.h"

/// The first byte tells whose configuration the rest is: 'e' the engine's, otherwise an agent's.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = vms::fuzz::textOf(data, size);
  if (text.empty()) return 0;
  auto file = vms::TomlConfig::parse(text.substr(1), "input.toml");
  if (!file) return 0;
  if (text.front() == 'e') {
    static_cast<void>(vms::runner::readEngineConfig(*file));
  } else {
    static_cast<void>(vms::hostagent::readAgentConfig(*file));
  }
  const auto finished = file->finish();
  VMS_CHECK(finished || !finished.error().message.empty(), "a refusal says why");
  return 0;
}
