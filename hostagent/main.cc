#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <utility>

#include "hostagent/agent_process.h"
#include "hostagent/libvirt/libvirt_check.h"
#include "schema/base/asio_clock.h"
#include "schema/base/certificate.h"
#include "schema/base/cli_text.h"
#include "schema/base/log.h"

namespace {

constexpr int kUsage = 2;

/// Prints what was found; 1 when the daemon cannot be reached.
int checkHypervisor(const vms::hostagent::AgentConfig& config) {
  if (config.hypervisor != vms::hostagent::HypervisorType::Libvirt) {
    std::printf("the hypervisor is simulated: nothing to check\n");
    return 0;
  }
  const auto findings = vms::hostagent::checkLibvirt(config.libvirt);
  if (!findings) {
    std::fprintf(stderr, "vmshostd: %s\n", findings.error().message.c_str());
    return 1;
  }
  for (const auto& finding : *findings) {
    std::printf("%s\n", vms::hostagent::formatFinding(finding).c_str());
  }
  if (findings->empty()) std::printf("nothing to mend\n");
  return 0;
}

vms::ManualPage manualPage() {
  vms::ManualPage page;
  page.section = 8;
  page.sections = {
      {"SIGNALS",
       "SIGTERM and SIGINT end the agent within 5 s; VMs go on. SIGHUP reads the log level again;\n"
       "certificates are read at every connection."},
      {"FILES",
       "vmshostd.example.toml, which comes with the program, explains every key of the "
       "configuration."},
      {"EXIT STATUS",
       "  0  done\n  1  the agent failed; the last lines of the log say why\n"
       "  2  the command line or the configuration is wrong"}};
  page.see_also = "vmsrunnerd(8), vmsctl(1), libvirtd(8)";
  return page;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "the host agent: builds, watches and ends the virtual machines of one host for the engine "
      "that it dials",
      "vmshostd");
  app.set_version_flag("--version", "vmshostd " VMS_VERSION, "Print the version and exit");
  app.set_help_flag("-h,--help", "Print this help and exit");
  std::string config_path;
  bool check_config = false;
  bool check = false;
  app.add_option("--config", config_path, "Configuration file (TOML); required")
      ->required()
      ->type_name("FILE");
  app.add_flag_callback(
      "--config-reference",
      [] {
        std::fputs(vms::hostagent::agentConfigReference().c_str(), stdout);
        throw CLI::Success();
      },
      "Print what every key of the configuration means, as Markdown, and exit");
  app.add_flag("--check-config", check_config, "Check the configuration and exit");
  app.add_flag(
      "--check", check,
      "Look at the host's libvirt daemon, say what slows it down and how to mend it, and exit");
  vms::describe(app, "",
                {"vmshostd --config /etc/vmsrunner/vmshostd.toml",
                 "vmshostd --config /etc/vmsrunner/vmshostd.toml --check"});
  vms::useHelpText(app);
  vms::addManualOption(app, manualPage());
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "vmshostd: %s; see 'vmshostd --help'\n",
                 vms::plainComplaint(app, error.what()).c_str());
    return kUsage;
  }

  vms::Result<vms::hostagent::AgentConfig> config = vms::hostagent::loadAgentConfig(config_path);
  if (!config) {
    std::fprintf(stderr, "vmshostd: %s\n", config.error().message.c_str());
    return kUsage;
  }
  if (check_config) {
    for (const std::string& warning :
         vms::expiryWarnings(certificatesOf(*config), vms::AsioClock().wallNow())) {
      std::fprintf(stderr, "vmshostd: warning: %s\n", warning.c_str());
    }
    std::printf("%s is valid\n", config_path.c_str());
    return 0;
  }
  if (check) return checkHypervisor(*config);
  vms::log::init("vmshostd", config->log_level);
  const vms::Result<void> ran = vms::hostagent::runAgentProcess(std::move(*config), config_path);
  if (ran) return 0;
  std::fprintf(stderr, "vmshostd: %s\n", ran.error().message.c_str());
  return 1;
}
