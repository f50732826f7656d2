#include <CLI/CLI.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <string>

#include "schema/base/log.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/subcommand.h"

namespace {

constexpr int kUsage = 2;

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Measures VmsRunner on this machine. Figures, not verdicts: see docs/performance.md.");
  app.set_version_flag("--version", std::string("vms-bench ") + VMS_VERSION);
  app.fallthrough();  // --json may stand behind the subcommand.
  bool json = false;
  vms::bench::Benchmark chosen;
  vms::bench::addOrchestration(app, chosen);
  vms::bench::addHistory(app, chosen);
  app.add_flag("--json", json, "The last line of stdout is one JSON object");
  app.require_subcommand(1);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "vms-bench: %s; see 'vms-bench --help'\n", error.what());
    return kUsage;
  }
  vms::log::init("vms-bench", vms::log::Level::Error);
  vms::bench::catchInterrupts();
  const vms::Result<vms::bench::Report> report = chosen();
  if (!report) {
    std::fprintf(stderr, "vms-bench: %s\n", report.error().message.c_str());
    return 1;
  }
  if (json) std::printf("%s\n", boost::json::serialize(*report).c_str());
  return 0;
}
