#include <CLI/App.hpp>
#include <memory>

#include "runner/ctl/commands.h"
#include "runner/ctl/completion.h"
#include "runner/ctl/output.h"
#include "schema/base/cli_text.h"

/// completion, and what its script asks.
namespace vms::runner::ctl {
namespace {

/// A person waits for each of these with a finger on the key.
constexpr const char* kPatience = "1s";
constexpr std::size_t kNamesMax = 5000;

/// Names that a shell takes as one plain word.
bool isPlain(std::string_view name) {
  return name.find_first_of(" \t\r\n\"'`$\\;&|<>(){}[]*?!#~") == std::string_view::npos;
}

struct NameList {
  const char* path;
  const char* member;
  const char* key;
};

NameList listOf(const std::string& kind) {
  if (kind == "vm") return {"/v1/vms", "vms", "vm_name"};
  if (kind == "host") return {"/v1/hosts", "hosts", "host"};
  return {"/v1/requests", "requests", "request_id"};
}

/// Silent whatever happens: nobody wants an error in the middle of a line.
Outcome<int> completeNames(Settings settings, const std::string& kind) {
  if (settings.timeout.empty()) settings.timeout = kPatience;
  auto api = ApiClient::open(settings);
  if (!api) return kExitOk;
  const NameList list = listOf(kind);
  const auto rows = kind == "host" ? rowsOf(api->get(list.path), list.member)
                                   : api->getAll(list.path, {}, list.member, kNamesMax);
  if (!rows) return kExitOk;
  for (const auto& row : *rows) {
    if (!row.is_object()) continue;
    const std::string name = stringOf(row.get_object(), list.key);
    if (isPlain(name)) put(name + "\n");
  }
  return kExitOk;
}

}  // namespace

void addCompletionCommand(CLI::App& app, Action& action) {
  auto* command =
      app.add_subcommand("completion", "Print a script that completes words in a shell");
  auto shell = std::make_shared<std::string>();  // The option writes it; the callback keeps it.
  command->add_option("SHELL", *shell, "The shell: bash")
      ->required()
      ->type_name("")
      ->check(CLI::IsMember({"bash"}));
  describe(*command,
           "Names of VMs, hosts and requests are asked of the engine, and left out when it does "
           "not answer at once.",
           {"source <(vmsctl completion bash)",
            "vmsctl completion bash > /usr/share/bash-completion/completions/vmsctl"});
  command->callback([&app, &action, shell]() {
    action = [&app](const Settings&) -> Outcome<int> {
      put(bashCompletion(app));
      return kExitOk;
    };
  });
  auto* names = app.add_subcommand("complete-names", "Names for the completion script")->group("");
  auto kind = std::make_shared<std::string>();
  names->add_option("KIND", *kind, "vm, host or request")
      ->required()
      ->check(CLI::IsMember({"vm", "host", "request"}));
  names->callback([&action, kind]() {
    action = [kind](const Settings& settings) { return completeNames(settings, *kind); };
  });
}

}  // namespace vms::runner::ctl
