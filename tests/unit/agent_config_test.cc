#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "hostagent/agent_config.h"

namespace vms::hostagent {
namespace {

constexpr char kLeast[] = R"(
[agent]
host = "h1"
state_dir = "state"
engine = "127.0.0.1:7443"
certificate = "h1.pem"
key = "h1.key"
ca = "ca.pem"
)";

Result<AgentConfig> parse(const std::string& text) {
  Result<TomlConfig> file = TomlConfig::parse(text, "hostd.toml");
  if (!file) return file.error();
  AgentConfig config = readAgentConfig(*file);
  if (Result<void> finished = file->finish(); !finished) return finished.error();
  return config;
}

std::string exampleText() {
  const char* const source = std::getenv("VMS_SOURCE_DIR");
  const std::filesystem::path root = source == nullptr ? "." : source;
  std::ifstream file(root / "config" / "vmshostd.example.toml");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(AgentConfig, NeedsOnlyWhatHasNoDefault) {
  const Result<AgentConfig> config = parse(kLeast);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->agent.host, "h1");
  EXPECT_GE(config->agent.create_width, 1U);
  EXPECT_EQ(config->hypervisor, HypervisorType::Libvirt);
}

TEST(AgentConfig, TheExampleIsValidAndNamesEveryKey) {
  const std::string text = exampleText();
  ASSERT_FALSE(text.empty());
  const Result<AgentConfig> config = parse(text);
  ASSERT_TRUE(config) << config.error().message;
  TomlConfig reference = TomlConfig::forDocumentation();
  readAgentConfig(reference);
  for (const ConfigKey& key : reference.keys()) {
    const std::string name = key.key.substr(key.key.find('.') + 1);
    EXPECT_NE(text.find(name + " = "), std::string::npos) << key.key << " is not in the example";
  }
}

TEST(AgentConfig, RefusesWhatItDoesNotKnowOrCannotUse) {
  for (const char* const bad : {"[lanes]\ncreate_width = 1025\n", "[lanes]\nwidth = 3\n",
                                "[capacity]\nmemory = 5\n", "[hypervisor]\ntype = \"xen\"\n",
                                "[simulated]\nbuild_min = \"9s\"\nbuild_max = \"1s\"\n"}) {
    const Result<AgentConfig> config = parse(std::string(kLeast) + bad);
    ASSERT_FALSE(config) << bad;
    EXPECT_EQ(config.error().error_class, ErrorClass::Invalid);
    EXPECT_NE(config.error().message.find("hostd.toml:"), std::string::npos)
        << config.error().message;
  }
  EXPECT_FALSE(parse("[agent]\nhost = \"h1\"\n"));
}

TEST(AgentConfig, ReadsIdentityFromItsFiles) {
  Result<AgentConfig> config = parse(kLeast);
  ASSERT_TRUE(config);
  const std::filesystem::path dir =
      std::filesystem::temp_directory_path() / ("vms-agent-config-" + std::to_string(::getpid()));
  std::filesystem::create_directories(dir);
  config->boot_id_file = dir / "boot";
  config->hardware_uuid_file = dir / "hardware";
  Result<void> detected = detectHost(*config);
  ASSERT_FALSE(detected);
  EXPECT_NE(detected.error().message.find("agent.boot_id_file"), std::string::npos);
  std::ofstream(config->boot_id_file) << "boot-1\n";
  std::ofstream(config->hardware_uuid_file) << " \n";
  EXPECT_FALSE(detectHost(*config)) << "an empty id is none";
  std::ofstream(config->hardware_uuid_file) << "hw-1\n";
  detected = detectHost(*config);
  EXPECT_TRUE(detected);
  EXPECT_EQ(config->agent.boot_id, "boot-1");
  EXPECT_EQ(config->agent.hardware_uuid, "hw-1");
  EXPECT_GT(config->agent.capacity.memory, 0U);
  EXPECT_GT(config->agent.capacity.cpus, 0U);
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace vms::hostagent
