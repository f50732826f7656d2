#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

/// What programs tell of their command lines: help and manual pages, both from the CLI11 tree.
namespace vms {

/// The words that an option takes, if it takes only these.
std::vector<std::string> choicesOf(const CLI::Option& option);
/// What stands for an option's value: "a|b", "N", "FILE"; empty for a flag.
std::string valueNameOf(const CLI::Option& option);
/// The commands of `app` that are shown, in their order.
std::vector<const CLI::App*> commandsOf(const CLI::App& app);
/// The named options of `app` that are shown, in their order.
std::vector<const CLI::Option*> optionsOf(const CLI::App& app);
/// The arguments of `app` that have no name, in their order.
std::vector<const CLI::Option*> argumentsOf(const CLI::App& app);
/// "vmsctl run [OPTION...] VM..."
std::string synopsisOf(const CLI::App& app);

/// Sets what is told of a command below its options. `details` holds lines; blank ones part
/// paragraphs, and those that begin with two spaces stand as they are. Each example is a line.
void describe(CLI::App& app, const std::string& details, const std::vector<std::string>& examples);

/// Gives `app` and its commands, those added before and after, help texts that are like the manual.
void useHelpText(CLI::App& app);

/// What is wrong with a command line, in plain words; `why`: what the parser says.
std::string plainComplaint(const CLI::App& app, const std::string& why);

struct ManualPage {
  int section = 1;
  /// Headings and texts after the options; texts as for `describe`.
  std::vector<std::pair<std::string, std::string>> sections;
  std::string see_also;
};
/// The page in the language of man(7): of `app`, its commands and all their options.
std::string manualOf(const CLI::App& app, const ManualPage& page);
/// Adds a hidden option --man that prints the page and exits, also when others are missing.
void addManualOption(CLI::App& app, const ManualPage& page);

}  // namespace vms
