#include "runner/ctl/command_line.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <array>
#include <numeric>

#include "runner/ctl/text_width.h"
#include "schema/base/cli_text.h"

namespace vms::runner::ctl {
namespace {

/// Options that every command takes, before and after it.
void addGlobals(CLI::App& app, Settings& settings) {
  app.add_option("--server", settings.server, "Address of the engine, as https://HOST:8443")
      ->envname("VMSCTL_SERVER")
      ->type_name("URL");
  app.add_option("--token", settings.token_file, "File with the token")
      ->envname("VMSCTL_TOKEN")
      ->type_name("FILE");
  app.add_option("--ca", settings.ca_file,
                 "PEM file with the engine's authority; default: those of the system")
      ->envname("VMSCTL_CA")
      ->type_name("FILE");
  app.add_option("--context", settings.context_file, "TOML file with server, token and ca")
      ->envname("VMSCTL_CONTEXT")
      ->type_name("FILE");
  app.add_option("--output", settings.output, "Form of what is printed; default table")
      ->envname("VMSCTL_OUTPUT")
      ->type_name("")
      ->check(CLI::IsMember({"table", "json", "ndjson", "csv"}));
  app.add_option("--color", settings.color, "Colours; auto: on a terminal, without NO_COLOR")
      ->envname("VMSCTL_COLOR")
      ->type_name("")
      ->check(CLI::IsMember({"auto", "always", "never"}));
  app.add_option("--timeout", settings.timeout,
                 "Give up after so long, as 30s or 5m; default: an answer 60s, --wait never")
      ->type_name("TIME");
}

ManualPage manualPage() {
  ManualPage page;
  page.sections = {
      {"ENVIRONMENT",
       "VMSCTL_SERVER, VMSCTL_TOKEN, VMSCTL_CA, VMSCTL_CONTEXT, VMSCTL_OUTPUT and VMSCTL_COLOR\n"
       "stand for the options of these names. NO_COLOR, when set, and TERM=dumb turn colours off.\n"
       "XDG_CONFIG_HOME and HOME say where the context file is."},
      {"FILES",
       "$XDG_CONFIG_HOME/vmsrunner/ctl.toml, else ~/.config/vmsrunner/ctl.toml, is the context "
       "file\n"
       "unless --context names another. Options win over variables, variables over this file.\n"
       "Relative paths start at its folder:\n"
       "\n"
       "  server = \"https://engine.example:8443\"\n"
       "  token = \"ctl.token\"\n"
       "  ca = \"ca.crt\"\n"
       "\n"
       "The file of the token should be readable by its owner alone."},
      {"EXIT STATUS",
       "  0    done\n"
       "  1    failed: the engine refused, or not every VM is up or stopped\n"
       "  2    usage: the command line, a file or the context is wrong\n"
       "  3    --timeout or the limit for an answer has passed\n"
       "  4    not authorised: no token, an unknown, expired or revoked one, or of a lower role\n"
       "  5    the engine cannot be reached, or it is not trusted\n"
       "  130  interrupted; what was accepted goes on\n"
       "  141  whoever read the output has gone\n"
       "\n"
       "A failure is one line on standard error that names the thing, the cause and the next "
       "step."}};
  page.see_also = "vmsrunnerd(8), vmshostd(8)";
  return page;
}

/// In the interfaces, not in this version.
constexpr std::array<const char*, 8> kLater = {
    "suspend", "migrate", "plan", "ha", "host fence", "host confirm-fenced", "ha disarm", "ha arm",
};

std::size_t distanceOf(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t change = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({change, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

const CLI::App* commandOf(const CLI::App& app, const std::string& name) {
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name() == name) return command;
  }
  return nullptr;
}

/// An option of the command or of those that it belongs to.
const CLI::Option* optionOf(const CLI::App& app, const std::string& name) {
  for (const CLI::App* at = &app; at != nullptr; at = at->get_parent()) {
    if (const CLI::Option* option = at->get_option_no_throw(name)) return option;
  }
  return nullptr;
}

std::vector<std::string> optionNamesOf(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* at = &app; at != nullptr; at = at->get_parent()) {
    for (const CLI::Option* option : optionsOf(*at)) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  return names;
}

std::string pathOf(const CLI::App& app) {
  return app.get_parent() == nullptr ? app.get_name()
                                     : pathOf(*app.get_parent()) + " " + app.get_name();
}

std::string unknownWord(const CLI::App& app, const std::string& kind, const std::string& word,
                        const std::vector<std::string>& known) {
  const std::string nearest = nearestOf(word, known);
  return "there is no " + kind + " '" + cutTo(printable(word), 60) + "'; " +
         (nearest.empty() ? "" : "did you mean '" + nearest + "'? ") + "see '" + pathOf(app) +
         " --help'";
}

}  // namespace

std::string nearestOf(const std::string& word, const std::vector<std::string>& known) {
  constexpr std::size_t kLongest = 64;
  if (word.size() > kLongest) return {};
  std::string nearest;
  std::size_t least = std::max<std::size_t>(word.size() < 3 ? 1 : 2, word.size() / 3) + 1;
  for (const std::string& candidate : known) {
    const bool begins = word.size() >= 2 && candidate.starts_with(word);
    const std::size_t distance = begins ? 0 : distanceOf(word, candidate);
    if (distance >= least) continue;
    least = distance;
    nearest = candidate;
  }
  return nearest;
}

std::string complaintOf(const CLI::App& app, const std::vector<std::string>& words,
                        const std::string& why) {
  const CLI::App* at = &app;
  for (std::size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
    const std::string& word = words[i];
    if (word.size() > 1 && word.starts_with('-')) {
      const std::string name = word.substr(0, word.find('='));
      const CLI::Option* option = optionOf(*at, name);
      // Below a group, an option may belong to the command that is still to come.
      if (option == nullptr && commandsOf(*at).empty()) {
        return unknownWord(*at, "option", name, optionNamesOf(*at));
      }
      if (option != nullptr && option->get_type_size() != 0 && name == word) ++i;
      continue;
    }
    if (commandsOf(*at).empty()) continue;
    if (const CLI::App* command = commandOf(*at, word)) {
      at = command;
      continue;
    }
    const std::string path = at == &app ? word : at->get_name() + " " + word;
    if (std::find(kLater.begin(), kLater.end(), path) != kLater.end()) {
      return "this version of VmsRunner cannot '" + path + "' yet; see '" + pathOf(*at) +
             " --help' for what it can";
    }
    std::vector<std::string> known;
    for (const CLI::App* command : commandsOf(*at)) known.push_back(command->get_name());
    return unknownWord(*at, "command", word, known);
  }
  return cutTo(printable(plainComplaint(*at, why)), 300) + "; see '" + pathOf(*at) + " --help'";
}

std::string emptyValueOf(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_type_size() == 0) continue;
    const auto& values = option->results();
    if (std::find(values.begin(), values.end(), "") == values.end()) continue;
    const std::string name = option->get_name();
    if (option->get_positional()) return name + " is empty; give it a value";
    const std::string clears = "--no-" + name.substr(std::min<std::size_t>(2, name.size()));
    const bool clearable = app.get_option_no_throw(clears) != nullptr;
    return name + " is empty; give it a value, " +
           (clearable ? "or clear it with " + clears : "or leave it out");
  }
  for (const CLI::App* command : app.get_subcommands()) {
    if (std::string found = emptyValueOf(*command); !found.empty()) return found;
  }
  return {};
}

std::unique_ptr<CLI::App> makeCommandLine(Settings& settings, Action& action) {
  auto app = std::make_unique<CLI::App>("run virtual machines in bulk through a VmsRunner engine",
                                        "vmsctl");
  app->set_version_flag("--version", "vmsctl " VMS_VERSION, "Print the version and exit");
  app->set_help_flag("-h,--help", "Print this help and exit");
  app->fallthrough();
  app->require_subcommand(1);
  addGlobals(*app, settings);
  addVmCommands(*app, action);
  addRunCommand(*app, action);
  addStopCommand(*app, action);
  addRequestCommands(*app, action);
  addHostCommands(*app, action);
  addHistoryCommand(*app, action);
  addWatchCommand(*app, action);
  addTokenCommands(*app, action);
  addPkiCommands(*app, action);
  addCompletionCommand(*app, action);
  describe(*app,
           "Options stand before or after the command. They also come from variables and from the\n"
           "context file ~/.config/vmsrunner/ctl.toml, which holds server, token and ca.\n"
           "\n"
           "Exit status: 0 done, 1 failed, 2 usage, 3 time-out, 4 not authorised, 5 unreachable,\n"
           "130 interrupted.\n",
           {"vmsctl vm define web.xml --label tier=web", "vmsctl run --selector tier=web --wait",
            "vmsctl host list --output json", "vmsctl watch"});
  useHelpText(*app);
  addManualOption(*app, manualPage());
  return app;
}

}  // namespace vms::runner::ctl
