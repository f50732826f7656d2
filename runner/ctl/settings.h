#pragma once

#include <optional>
#include <string>

#include "runner/ctl/outcome.h"
#include "schema/base/time.h"

namespace vms::runner::ctl {

enum class Output { Table, Json, Ndjson, Csv };
enum class Colour { Auto, Always, Never };

/// What every command takes, from options, VMSCTL_* variables and the context file, in this order.
struct Settings {
  std::string server;
  std::string token_file;
  std::string ca_file;
  std::string context_file;
  std::string output = "table";
  std::string color = "auto";
  std::string timeout;

  Output format() const;
  Colour colour() const;
  /// Of --timeout; checked when the command line was read.
  std::optional<Duration> timeLimit() const;
};

/// Fills what is still empty from the context file (TOML: server, token, ca; relative paths start
/// at its folder). Without --context, $XDG_CONFIG_HOME/vmsrunner/ctl.toml (or ~/.config/...) is
/// used when it exists. Usage: the file cannot be read or holds something else.
Outcome<void> completeFromContext(Settings& settings);

/// The token's text. Usage: the file cannot be read or is empty. A person at a terminal is warned
/// of a file that others can read.
Outcome<std::string> readToken(const std::string& file);

}  // namespace vms::runner::ctl
