#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "runner/backup_command.h"
#include "runner/engine_process.h"
#include "schema/base/asio_clock.h"
#include "schema/base/certificate.h"
#include "schema/base/cli_text.h"
#include "schema/base/log.h"

namespace {

constexpr int kUsage = 2;

int fail(const vms::Error& error) {
  std::fprintf(stderr, "vmsrunnerd: %s\n", error.message.c_str());
  return 1;
}

vms::ManualPage manualPage() {
  vms::ManualPage page;
  page.section = 8;
  page.sections = {{"SIGNALS",
                    "SIGTERM and SIGINT end the engine within 5 s; VMs go on. SIGHUP reads the log "
                    "level and the\n"
                    "certificates again; everything else needs a restart."},
                   {"FILES",
                    "vmsrunnerd.example.toml, which comes with the program, explains every key of "
                    "the configuration."},
                   {"EXIT STATUS",
                    "  0  done\n  1  the engine failed; the last lines of the log say why\n"
                    "  2  the command line or the configuration is wrong"}};
  page.see_also = "vmshostd(8), vmsctl(1)";
  return page;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "the engine: queues run commands, places them, sends them to host agents in bulk, and keeps "
      "the history of every run",
      "vmsrunnerd");
  app.set_version_flag("--version", "vmsrunnerd " VMS_VERSION, "Print the version and exit");
  app.set_help_flag("-h,--help", "Print this help and exit");
  std::string config_path;
  std::string token_file;
  std::string backup_file;
  std::string commit_delay = "0ms";
  bool check_config = false;
  bool restored = false;
  app.add_option("--config", config_path, "Configuration file (TOML); required")
      ->required()
      ->type_name("FILE");
  app.add_flag_callback(
      "--config-reference",
      [] {
        std::fputs(vms::runner::engineConfigReference().c_str(), stdout);
        throw CLI::Success();
      },
      "Print what every key of the configuration means, as Markdown, and exit");
  app.add_flag("--check-config", check_config, "Check the configuration and exit");
  app.add_option("--create-admin-token", token_file,
                 "Make the first admin token, write it to a new file and exit")
      ->type_name("FILE");
  app.add_flag(
      "--restored", restored,
      "The database was restored from a copy: start nothing until every host is confirmed");
  app.add_option("--backup", backup_file,
                 "Copy the database to a new file, also while the engine runs, and exit")
      ->type_name("FILE")
      ->excludes("--create-admin-token", "--restored", "--check-config");
  app.add_option(
         "--commit-delay", commit_delay,
         "Sleep so long after each commit, as a slower disk would (for benchmarks), as 2ms; at "
         "most 1s, default 0ms")
      ->type_name("TIME");
  vms::describe(app, "",
                {"vmsrunnerd --config /etc/vmsrunner/vmsrunnerd.toml",
                 "vmsrunnerd --config /etc/vmsrunner/vmsrunnerd.toml --create-admin-token "
                 "/root/admin.token"});
  vms::useHelpText(app);
  vms::addManualOption(app, manualPage());
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "vmsrunnerd: %s; see 'vmsrunnerd --help'\n",
                 vms::plainComplaint(app, error.what()).c_str());
    return kUsage;
  }

  vms::Result<vms::runner::EngineConfig> config = vms::runner::loadEngineConfig(config_path);
  if (!config) {
    std::fprintf(stderr, "vmsrunnerd: %s\n", config.error().message.c_str());
    return kUsage;
  }
  if (check_config) {
    for (const std::string& warning :
         vms::expiryWarnings(certificatesOf(*config), vms::AsioClock().wallNow())) {
      std::fprintf(stderr, "vmsrunnerd: warning: %s\n", warning.c_str());
    }
    std::printf("%s is valid\n", config_path.c_str());
    return 0;
  }
  vms::log::init("vmsrunnerd", config->log_level);
  if (!token_file.empty()) {
    const vms::Result<void> made = vms::runner::createAdminToken(*config, token_file);
    return made ? 0 : fail(made.error());
  }
  if (!backup_file.empty()) {
    const vms::Result<void> made = vms::runner::backupCommand(*config, backup_file);
    return made ? 0 : fail(made.error());
  }
  vms::runner::ProcessOptions options;
  options.config_path = config_path;
  options.restored = restored;
  const auto delay = vms::parseDuration(commit_delay);
  if (!delay || *delay > vms::seconds(1)) {
    std::fprintf(stderr, "vmsrunnerd: --commit-delay: give a duration up to 1s, such as 2ms\n");
    return kUsage;
  }
  options.commit_delay = *delay;
  const vms::Result<void> ran = vms::runner::runEngine(*config, options);
  return ran ? 0 : fail(ran.error());
}
