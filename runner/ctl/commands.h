#pragma once

#include <boost/json/object.hpp>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "runner/ctl/api_client.h"
#include "runner/ctl/outcome.h"
#include "runner/ctl/settings.h"

namespace CLI {
class App;
}

/// The commands of vmsctl, one file per group. Each adds its part to the command line; parsing sets
/// `action` to what is to be done, which runs once the settings are complete.
namespace vms::runner::ctl {

using Action = std::function<Outcome<int>(const Settings&)>;

void addVmCommands(CLI::App& app, Action& action);
void addRunCommand(CLI::App& app, Action& action);
void addStopCommand(CLI::App& app, Action& action);
void addRequestCommands(CLI::App& app, Action& action);
void addHostCommands(CLI::App& app, Action& action);
void addHistoryCommand(CLI::App& app, Action& action);
void addWatchCommand(CLI::App& app, Action& action);
/// Takes the whole command line, which must be alive when the action runs.
void addCompletionCommand(CLI::App& app, Action& action);
void addTokenCommands(CLI::App& app, Action& action);
void addPkiCommands(CLI::App& app, Action& action);

/// VMs by name or id, all of them, or those with labels: exactly one of the three.
struct VmChoice {
  std::vector<std::string> vms;
  std::vector<std::string> selector;  ///< key=value each.
  bool all = false;
};
/// Adds VM…, --all and --selector.
void addVmChoice(CLI::App& command, VmChoice& choice);
/// As the API wants it. Usage: none or several of the three, or a selector without '='.
Outcome<json::object> selectionOf(const VmChoice& choice);
/// The names, each once, asking the engine for those of a selector or of --all.
Outcome<std::vector<std::string>> namesOf(ApiClient& api, const VmChoice& choice);

/// Adds an option that may be given many times, with one value each or several with commas.
void addList(CLI::App& command, const std::string& name, std::vector<std::string>& values,
             const std::string& help, const std::string& value_name, bool commas);

/// "k=v" each. Usage: without '=', or one key with two values.
Outcome<json::object> labelsOf(const std::vector<std::string>& pairs, const std::string& option);

/// The rows of one list. Failed: the answer has none.
Outcome<json::array> rowsOf(const Outcome<json::value>& answer, std::string_view member);
Outcome<json::object> objectOf(const Outcome<json::value>& answer);

}  // namespace vms::runner::ctl
