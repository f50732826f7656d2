#include <CLI/CLI.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <exception>
#include <string>

#include "schema/base/log.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/subcommand.h"

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

int fail(const std::string& why) {
  std::fprintf(stderr, "vms-bench: %s\n", why.c_str());
  return kFailed;
}

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
  // What was said stays said, however this ends.
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  try {
    const vms::Result<vms::bench::Report> report = chosen();
    if (!report) return fail(report.error().message);
    if (json) std::printf("%s\n", boost::json::serialize(*report).c_str());
  } catch (const std::exception& error) {
    return fail(std::string("a defect of vms-bench itself: ") + error.what());
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return fail("its output cannot be written; check where it goes");
  }
  return 0;
}
