#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <string>

#include "runner/ctl/command_line.h"
#include "runner/ctl/output.h"
#include "runner/ctl/text_width.h"
#include "schema/base/time.h"

namespace vms::runner::ctl {
namespace {

constexpr Duration kLongestTimeout = std::chrono::hours(365 * 24);

int fail(const Failure& failure) {
  std::fprintf(stderr, "vmsctl: %s\n", printable(failure.message).c_str());
  return failure.status;
}

/// The command's own status, unless its output got lost.
int finish(const Outcome<int>& status) {
  const int lost = flushOutput();
  // Whoever read has seen enough, as `head` in a pipe.
  if (lost == EPIPE) return kExitClosedPipe;
  if (!status) return fail(status.error());
  if (lost == 0) return *status;
  return fail(Failure(kExitFailed, std::string("the output cannot be written: ") +
                                       std::strerror(lost) + "; check where it goes"));
}

int run(int argc, char** argv) {
  Settings settings;
  Action action;
  const auto app = makeCommandLine(settings, action);
  try {
    app->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      std::ostringstream out;
      app->exit(error, out, out);
      put(out.str());
      return finish(kExitOk);
    }
    const std::vector<std::string> words(argv + 1, argv + argc);
    return fail(Failure(kExitUsage, complaintOf(*app, words, error.what())));
  }
  if (const std::string empty = emptyValueOf(*app); !empty.empty()) {
    return fail(Failure(kExitUsage, empty));
  }
  if (!settings.timeout.empty()) {
    const auto limit = settings.timeLimit();
    if (!limit || *limit <= Duration::zero() || *limit > kLongestTimeout) {
      return fail(
          Failure(kExitUsage, "--timeout '" + settings.timeout + "' is no time from 1ms to " +
                                  formatDuration(kLongestTimeout) + "; give one as 30s or 5m"));
    }
  }
  if (const auto complete = completeFromContext(settings); !complete) return fail(complete.error());
  return finish(action(settings));
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
