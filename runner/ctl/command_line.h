#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runner/ctl/commands.h"

namespace vms::runner::ctl {

/// The whole command line of vmsctl. `settings` and `action` must outlive it; parsing fills both.
std::unique_ptr<CLI::App> makeCommandLine(Settings& settings, Action& action);

/// Why `words` (without the program's name) were refused, in one line with what to do: a command
/// or option that is not known, with the nearest one that is, or a command of a later version.
/// Anything else is told with `why`, the parser's own words.
std::string complaintOf(const CLI::App& app, const std::vector<std::string>& words,
                        const std::string& why);

/// What of the parsed line was given as an empty text, and what to do; empty if nothing was. A
/// script's unset variable must not pass for an option that was left out.
std::string emptyValueOf(const CLI::App& app);

/// The word of `known` that was most likely meant by `word`; empty when none is near.
std::string nearestOf(const std::string& word, const std::vector<std::string>& known);

}  // namespace vms::runner::ctl
