#include "runner/ctl/completion.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <string_view>

#include "schema/base/cli_text.h"

namespace vms::runner::ctl {
namespace {

constexpr std::string_view kHead = R"sh(# Completion of vmsctl for bash. Load it with
#   source <(vmsctl completion bash)
# or write it to /usr/share/bash-completion/completions/vmsctl.

)sh";

constexpr std::string_view kBody = R"sh(
# The names of kind $1, asked of the engine that the line itself names.
_vmsctl_names() {
  "${_vmsctl_program[@]}" complete-names "$1" 2>/dev/null
}

# Completes $2, a value of kind $1: names, files, or the words themselves.
_vmsctl_values() {
  case $1 in
    VM) mapfile -t COMPREPLY < <(compgen -W "$(_vmsctl_names vm)" -- "$2") ;;
    HOST) mapfile -t COMPREPLY < <(compgen -W "$(_vmsctl_names host)" -- "$2") ;;
    REQUEST) mapfile -t COMPREPLY < <(compgen -W "$(_vmsctl_names request)" -- "$2") ;;
    FILE | 'DIR|FILE') mapfile -t COMPREPLY < <(compgen -f -- "$2"); compopt -o filenames 2>/dev/null ;;
    DIR) mapfile -t COMPREPLY < <(compgen -d -- "$2"); compopt -o filenames 2>/dev/null ;;
    =*) mapfile -t COMPREPLY < <(compgen -W "${1#=}" -- "$2") ;;
  esac
}

_vmsctl() {
  COMPREPLY=()
  # Words as the shell parts them, not as readline does, for which '=' and ':' end a word.
  local line=${COMP_LINE:0:COMP_POINT} current= path=vmsctl option= kind word
  local -a words
  read -ra words <<<"$line"
  if [[ $line != *[[:space:]] && ${#words[@]} -gt 0 ]]; then
    current=${words[-1]}
    unset 'words[-1]'
  fi
  _vmsctl_program=("${words[0]:-vmsctl}")
  for word in "${words[@]:1}"; do
    if [[ -n $option ]]; then
      case $option in --server | --token | --ca | --context) _vmsctl_program+=("$option" "$word") ;; esac
      option=
    elif [[ $word == --*=* ]]; then
      case $word in --server=* | --token=* | --ca=* | --context=*) _vmsctl_program+=("$word") ;; esac
    elif [[ $word == -* ]]; then
      kind=$(_vmsctl_option "$path" "$word")
      [[ -z $kind ]] || option=$word
    elif [[ " $(_vmsctl_commands "$path") " == *" $word "* ]]; then
      path="$path $word"
    fi
  done
  if [[ -n $option ]]; then
    _vmsctl_values "$(_vmsctl_option "$path" "$option")" "$current"
  elif [[ $current == --*=* ]]; then
    _vmsctl_values "$(_vmsctl_option "$path" "${current%%=*}")" "${current#*=}"
    current=${current#*=}
  elif [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_vmsctl_options "$path")" -- "$current")
  elif [[ -n $(_vmsctl_commands "$path") ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_vmsctl_commands "$path")" -- "$current")
  else
    _vmsctl_values "$(_vmsctl_argument "$path")" "$current"
  fi
  # Readline replaces only what follows the last '=' or ':'.
  local kept=${current%"${current##*[=:]}"}
  [[ -z $kept ]] || COMPREPLY=("${COMPREPLY[@]#"$kept"}")
}

complete -F _vmsctl vmsctl
)sh";

/// What `_vmsctl_values` is told: a kind of name, or "=word word".
std::string kindOf(const std::vector<std::string>& choices, const std::string& name) {
  std::string out;
  for (const std::string& choice : choices) out += (out.empty() ? "=" : " ") + choice;
  return out.empty() ? name : out;
}

/// The lines of a `case` over what `describe` says of each command.
template <class Describe>
void cases(const CLI::App& app, const std::string& path, std::string& out,
           const Describe& describe) {
  const std::string text = describe(app);
  if (!text.empty()) out += "    '" + path + "') echo '" + text + "' ;;\n";
  for (const CLI::App* command : commandsOf(app)) {
    cases(*command, path + " " + command->get_name(), out, describe);
  }
}

template <class Describe>
std::string function(const CLI::App& app, const std::string& name, const Describe& describe) {
  std::string out = name + "() {\n  case $1 in\n";
  cases(app, app.get_name(), out, describe);
  return out + "  esac\n}\n";
}

void optionCases(const CLI::App& app, const std::string& path, std::string& out) {
  for (const CLI::Option* option : optionsOf(app)) {
    if (option->get_type_size() == 0) continue;
    // Options of the program itself stand after every command, too.
    const std::string where = app.get_parent() == nullptr ? "*" : "'" + path + "'";
    for (const std::string& name : option->get_lnames()) {
      out += fmt::format("    {}' --{}') echo '{}' ;;\n", where, name,
                         kindOf(choicesOf(*option), valueNameOf(*option)));
    }
  }
  for (const CLI::App* command : commandsOf(app)) {
    optionCases(*command, path + " " + command->get_name(), out);
  }
}

}  // namespace

std::string bashCompletion(const CLI::App& app) {
  std::string out(kHead);
  out += "# The commands below one.\n" +
         function(app, "_vmsctl_commands", [](const CLI::App& command) {
           std::string names;
           for (const CLI::App* each : commandsOf(command)) {
             names += (names.empty() ? "" : " ") + each->get_name();
           }
           return names;
         });
  out += "\n# The options of a command.\n" +
         function(app, "_vmsctl_options", [](const CLI::App& command) {
           std::string names;
           for (const CLI::App* at = &command; at != nullptr; at = at->get_parent()) {
             for (const CLI::Option* option : optionsOf(*at)) {
               for (const std::string& name : option->get_lnames()) {
                 const bool again = at != &command && (name == "help" || name == "version");
                 if (!again) names += (names.empty() ? "--" : " --") + name;
               }
             }
           }
           return names;
         });
  out += "\n# What the arguments of a command are.\n" +
         function(app, "_vmsctl_argument", [](const CLI::App& command) {
           const auto arguments = argumentsOf(command);
           return arguments.empty()
                      ? std::string()
                      : kindOf(choicesOf(*arguments.front()), arguments.front()->get_single_name());
         });
  out +=
      "\n# What an option of a command takes; nothing for a flag.\n"
      "_vmsctl_option() {\n  case \"$1 $2\" in\n";
  optionCases(app, app.get_name(), out);
  out += "  esac\n}\n";
  return out + std::string(kBody);
}

}  // namespace vms::runner::ctl
