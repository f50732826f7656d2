#include "schema/base/cli_text.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cctype>
#include <memory>
#include <sstream>

namespace vms {
namespace {

constexpr std::string_view kExamples = "Examples:";
constexpr std::size_t kOptionColumn = 30;

bool isFlag(const CLI::Option& option) { return option.get_type_size() == 0; }

std::string joined(const std::vector<std::string>& words, std::string_view between) {
  std::string out;
  for (const std::string& word : words) {
    if (!out.empty()) out += between;
    out += word;
  }
  return out;
}

std::vector<std::string> linesOf(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// "-h, --help" or "--host HOST"
std::string nameOf(const CLI::Option& option) {
  if (option.get_positional()) {
    return option.get_single_name() + (option.get_items_expected_max() > 1 ? "..." : "");
  }
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  const std::string value = valueNameOf(option);
  return joined(names, ", ") + (value.empty() ? "" : " " + value);
}

std::string helpLine(const CLI::Option& option) {
  std::string line = "  " + nameOf(option);
  line += line.size() + 2 > kOptionColumn ? "\n" + std::string(kOptionColumn, ' ')
                                          : std::string(kOptionColumn - line.size(), ' ');
  line += option.get_description();
  if (!option.get_envname().empty()) line += " [$" + option.get_envname() + "]";
  return line + "\n";
}

class HelpText : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string, CLI::AppFormatMode) const override {
    std::string out = app->get_description() + "\n\nUsage: " + synopsisOf(*app) + "\n";
    const auto commands = commandsOf(*app);
    if (!commands.empty()) out += "\nCommands:\n";
    for (const CLI::App* command : commands) {
      std::string line = "  " + command->get_name();
      line.append(line.size() < 14 ? 14 - line.size() : 2, ' ');
      out += line + command->get_description() + "\n";
    }
    const auto arguments = argumentsOf(*app);
    if (!arguments.empty()) out += "\nArguments:\n";
    for (const CLI::Option* argument : arguments) out += helpLine(*argument);
    out += "\nOptions:\n";
    for (const CLI::Option* option : optionsOf(*app)) out += helpLine(*option);
    if (!app->get_footer().empty()) out += "\n" + app->get_footer();
    if (app->get_parent() != nullptr) {
      const CLI::App* root = app;
      while (root->get_parent() != nullptr) root = root->get_parent();
      out += "\nOptions of every command: " + root->get_name() + " --help\n";
    }
    return out;
  }
};

/// Text of man(7): nothing in it is a request or an escape.
std::string roff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '\\':
        out += "\\e";
        break;
      case '-':
        out += "\\-";
        break;
      case '\'':
        out += "\\(aq";
        break;
      case '^':
        out += "\\(ha";
        break;
      case '~':
        out += "\\(ti";
        break;
      default:
        out.push_back(c);
    }
  }
  return out.starts_with('.') ? "\\&" + out : out;
}

std::string roffText(const std::string& text) {
  std::string out;
  bool verbatim = false;
  for (const std::string& line : linesOf(text)) {
    const bool stands = line.starts_with("  ");
    if (stands != verbatim) out += stands ? ".PP\n.nf\n.RS 4\n" : ".RE\n.fi\n.PP\n";
    verbatim = stands;
    if (line.empty()) {
      if (!out.ends_with(".PP\n") && !out.empty()) out += ".PP\n";
      continue;
    }
    out += roff(stands ? line.substr(2) : line) + "\n";
  }
  if (verbatim) out += ".RE\n.fi\n";
  while (out.ends_with(".PP\n")) out.resize(out.size() - 4);
  return out;
}

std::string roffOption(const CLI::Option& option) {
  std::string out = ".TP\n\\fB" + roff(nameOf(option)) + "\\fR\n" + roff(option.get_description());
  if (!option.get_envname().empty()) out += " (variable " + roff(option.get_envname()) + ")";
  return out + ".\n";
}

std::string roffOptions(const CLI::App& app) {
  std::string out;
  for (const CLI::Option* argument : argumentsOf(app)) out += roffOption(*argument);
  for (const CLI::Option* option : optionsOf(app)) {
    if (app.get_parent() == nullptr || option != app.get_help_ptr()) out += roffOption(*option);
  }
  return out;
}

/// What `describe` was given, apart.
std::pair<std::string, std::string> toldOf(const CLI::App& app) {
  const std::string footer = app.get_footer();
  const std::size_t at = footer.find(kExamples);
  if (at == std::string::npos) return {footer, {}};
  return {footer.substr(0, at), footer.substr(std::min(footer.size(), at + kExamples.size() + 1))};
}

void roffCommands(const CLI::App& app, std::string& out) {
  for (const CLI::App* command : commandsOf(app)) {
    if (!commandsOf(*command).empty()) {
      roffCommands(*command, out);
      continue;
    }
    out +=
        ".SS \"" + roff(synopsisOf(*command)) + "\"\n" + roff(command->get_description()) + ".\n";
    out += roffOptions(*command);
    const auto [details, examples] = toldOf(*command);
    if (!details.empty()) out += ".PP\n" + roffText(details);
    if (!examples.empty()) out += roffText(examples);
  }
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

std::vector<std::string> choicesOf(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const std::size_t begin = type.find('{');
  const std::size_t end = type.rfind('}');
  std::vector<std::string> choices;
  if (begin == std::string::npos || end == std::string::npos) return choices;
  std::istringstream words(type.substr(begin + 1, end - begin - 1));
  for (std::string word; std::getline(words, word, ',');) choices.push_back(word);
  return choices;
}

std::string valueNameOf(const CLI::Option& option) {
  if (isFlag(option)) return {};
  const auto choices = choicesOf(option);
  if (!choices.empty()) return joined(choices, "|");
  const std::string type = option.get_type_name();
  const std::string name = type.substr(0, type.find(':'));
  return name == "INT" || name == "UINT" ? "N" : name;
}

std::vector<const CLI::App*> commandsOf(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* command) { return !command->get_group().empty(); });
}

std::vector<const CLI::Option*> optionsOf(const CLI::App& app) {
  return app.get_options([](const CLI::Option* option) {
    return !option->get_positional() && !option->get_group().empty();
  });
}

std::vector<const CLI::Option*> argumentsOf(const CLI::App& app) {
  return app.get_options([](const CLI::Option* option) { return option->get_positional(); });
}

std::string synopsisOf(const CLI::App& app) {
  std::string out = app.get_name();
  for (const CLI::App* parent = app.get_parent(); parent != nullptr;
       parent = parent->get_parent()) {
    out.insert(0, parent->get_name() + " ");
  }
  out += " [OPTION...]";
  if (!commandsOf(app).empty()) out += " COMMAND";
  for (const CLI::Option* argument : argumentsOf(app)) {
    const std::string name = nameOf(*argument);
    out += " " + (argument->get_required() ? name : "[" + name + "]");
  }
  return out;
}

void describe(CLI::App& app, const std::string& details, const std::vector<std::string>& examples) {
  std::string text = details;
  if (!text.empty() && !text.ends_with('\n')) text += "\n";
  if (!examples.empty()) {
    if (!text.empty()) text += "\n";
    text += kExamples;
    text += "\n";
    for (const std::string& example : examples) text += "  " + example + "\n";
  }
  app.footer(text);
}

void useHelpText(CLI::App& app) {
  const auto formatter = std::make_shared<HelpText>();
  app.formatter(formatter);
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    useHelpText(*command);
  }
}

std::string plainComplaint(const CLI::App& app, const std::string& why) {
  constexpr std::string_view kTwice = ": At Most 1 required but received ";
  constexpr std::string_view kMissing = ": 1 required ";
  constexpr std::string_view kUnexpected = " not expected: ";
  // Before what is missing: it was meant by a word that is not known.
  const auto rest = app.remaining();
  if (app.get_parent() == nullptr && commandsOf(app).empty() && !rest.empty()) {
    return rest.front().starts_with('-') ? "there is no option '" + rest.front() + "'"
                                         : "this program takes no '" + rest.front() + "'";
  }
  if (why == "A subcommand is required") return "no command is named";
  if (const auto at = why.find(kTwice); at != std::string::npos) {
    return why.substr(0, at) + " is given more than once; give it once";
  }
  if (const auto at = why.find(kMissing); at != std::string::npos) {
    return why.substr(0, at) + " has no value; give it one";
  }
  if (const auto at = why.find(kUnexpected); at != std::string::npos) {
    return "this command takes no '" + why.substr(at + kUnexpected.size()) + "'";
  }
  return why;
}

std::string manualOf(const CLI::App& app, const ManualPage& page) {
  const std::string& name = app.get_name();
  std::string out = ".TH " + upper(name) + " " + std::to_string(page.section) +
                    " \"\" \"VmsRunner " VMS_VERSION "\" \"VmsRunner\"\n";
  out += ".SH NAME\n" + name + " \\- " + roff(app.get_description()) + "\n";
  out +=
      ".SH SYNOPSIS\n\\fB" + roff(name) + "\\fR" + roff(synopsisOf(app).substr(name.size())) + "\n";
  const auto [details, examples] = toldOf(app);
  if (!details.empty()) out += ".SH DESCRIPTION\n" + roffText(details);
  out += ".SH OPTIONS\n" + roffOptions(app);
  if (!commandsOf(app).empty()) {
    out += ".SH COMMANDS\n";
    roffCommands(app, out);
  }
  for (const auto& [heading, text] : page.sections) {
    out += ".SH " + heading + "\n" + roffText(text);
  }
  if (!examples.empty()) out += ".SH EXAMPLES\n" + roffText(examples);
  if (!page.see_also.empty()) out += ".SH SEE ALSO\n" + roff(page.see_also) + "\n";
  return out;
}

void addManualOption(CLI::App& app, const ManualPage& page) {
  app.add_flag_callback("--man",
                        [&app, page]() {
                          std::string text = manualOf(app, page);
                          text.pop_back();  // The exit adds a line end.
                          throw CLI::CallForVersion(text, 0);
                        })
      ->group("");
}

}  // namespace vms
