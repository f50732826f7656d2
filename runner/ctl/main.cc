#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <csignal>
#include <cstdio>
#include <string>

#include "runner/ctl/commands.h"
#include "schema/base/time.h"

namespace vms::runner::ctl {
namespace {

/// Options that every command takes, before and after it.
void addGlobals(CLI::App& app, Settings& settings) {
  app.add_option("--server", settings.server, "https://HOST:PORT of the engine")
      ->envname("VMSCTL_SERVER");
  app.add_option("--token", settings.token_file, "File with the token")->envname("VMSCTL_TOKEN");
  app.add_option("--ca", settings.ca_file, "PEM file with the engine's authority")
      ->envname("VMSCTL_CA");
  app.add_option("--context", settings.context_file, "TOML file with server, token and ca")
      ->envname("VMSCTL_CONTEXT");
  app.add_option("--output", settings.output, "table, json, ndjson or csv")
      ->envname("VMSCTL_OUTPUT")
      ->check(CLI::IsMember({"table", "json", "ndjson", "csv"}));
  app.add_option("--timeout", settings.timeout, "Give up after so long, as 30s");
}

int fail(const Failure& failure) {
  std::fflush(stdout);
  std::string line = failure.message;
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  std::fprintf(stderr, "vmsctl: %s\n", line.c_str());
  return failure.status;
}

int run(int argc, char** argv) {
  CLI::App app("Runs virtual machines through an engine of VmsRunner", "vmsctl");
  app.set_version_flag("--version", "vmsctl " VMS_VERSION);
  app.fallthrough();
  app.require_subcommand(1);
  Settings settings;
  Action action;
  addGlobals(app, settings);
  addVmCommands(app, action);
  addRunCommand(app, action);
  addStopCommand(app, action);
  addRequestCommands(app, action);
  addHostCommands(app, action);
  addHistoryCommand(app, action);
  addTokenCommands(app, action);
  addPkiCommands(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    return fail(Failure(kExitUsage, std::string(error.what()) + "; see 'vmsctl --help'"));
  }
  if (!settings.timeout.empty()) {
    const auto limit = settings.timeLimit();
    if (!limit || *limit <= Duration::zero()) {
      return fail(Failure(
          kExitUsage, "--timeout '" + settings.timeout + "' is no time; give one as 30s or 5m"));
    }
  }
  if (const auto complete = completeFromContext(settings); !complete) return fail(complete.error());
  const auto status = action(settings);
  if (!status) return fail(status.error());
  return std::fflush(stdout) == 0 ? *status
                                  : fail(Failure(kExitFailed,
                                                 "the output cannot be written; check "
                                                 "where it goes"));
}

}  // namespace
}  // namespace vms::runner::ctl

int main(int argc, char** argv) {
  // A reader that goes away must not look like a failure of the engine.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return vms::runner::ctl::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "vmsctl: a defect of vmsctl itself: %s; report it\n", error.what());
    return vms::runner::ctl::kExitFailed;
  }
}
