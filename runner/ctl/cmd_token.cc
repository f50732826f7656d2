#include <fcntl.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "runner/ctl/commands.h"
#include "runner/ctl/output.h"
#include "schema/base/cli_text.h"
#include "schema/base/files.h"
#include "schema/base/unique_fd.h"

/// token create, list, revoke.
namespace vms::runner::ctl {
namespace {

struct TokenOptions {
  std::string role, name, expires, file;
};

/// Reserved before the token is made, so that a secret is never lost to a bad path.
Outcome<UniqueFd> reserve(const std::string& file) {
  if (file.empty()) return UniqueFd();
  UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (fd) return fd;
  return Failure(kExitUsage, errnoError(errno, "token file '" + file + "'").message +
                                 "; give a new file in a folder that can be written");
}

Outcome<int> create(const Settings& settings, const TokenOptions& options) {
  json::object body;
  body["role"] = options.role;
  if (!options.name.empty()) body["name"] = options.name;
  if (!options.expires.empty()) {
    const auto life = parseDuration(options.expires);
    if (!life) {
      return Failure(kExitUsage, "--expires '" + options.expires + "' is no time; give one as 90d");
    }
    body["expires_in_ms"] = toMs(*life);
  }
  auto api = ApiClient::open(settings);
  if (!api) return api.error();
  auto fd = reserve(options.file);
  if (!fd) return fd.error();
  auto token = objectOf(api->send("POST", "/v1/tokens", std::move(body)));
  if (!token) {
    if (*fd) ::unlink(options.file.c_str());
    return token.error();
  }
  if (*fd) {
    const std::string line = stringOf(*token, "token") + "\n";
    const ssize_t size = ::write(fd->get(), line.data(), line.size());
    if (size != static_cast<ssize_t>(line.size())) {
      return Failure(kExitFailed, "token file '" + options.file +
                                      "' cannot be written; revoke token " +
                                      stringOf(*token, "token_id") + " and try again");
    }
    token->erase("token");
  }
  if (settings.format() == Output::Table && !*fd) {
    put(stringOf(*token, "token") + "\n");
  } else {
    printObject(settings, *token);
  }
  return kExitOk;
}

void addCreate(CLI::App& token, Action& action) {
  auto* command = token.add_subcommand("create", "Create a token; prints it once");
  auto options = std::make_shared<TokenOptions>();
  command
      ->add_option("--role", options->role, "What it may do; each may do what the one before may")
      ->type_name("")
      ->required()
      ->check(CLI::IsMember({"viewer", "operator", "admin"}));
  command->add_option("--name", options->name, "Who it is for")->type_name("NAME");
  command
      ->add_option("--expires", options->expires, "How long it is good, as 90d; default: for ever")
      ->type_name("TIME");
  command
      ->add_option("--file", options->file, "Write it to a new file (mode 0600), not to the output")
      ->type_name("FILE");
  describe(*command, "",
           {"vmsctl token create --role operator --name ci --expires 90d --file ci.token"});
  command->callback([&action, options]() {
    action = [options](const Settings& settings) { return create(settings, *options); };
  });
}

std::vector<Column> columns() {
  return {{"token_id", "TOKEN"},
          {"name", "NAME"},
          {"role", "ROLE"},
          {"created_at", "CREATED", true},
          {"expires_at", "EXPIRES", true},
          {"revoked_at", "REVOKED", true}};
}

}  // namespace

void addTokenCommands(CLI::App& app, Action& action) {
  auto* token = app.add_subcommand("token", "Create and revoke tokens");
  token->require_subcommand(1);
  addCreate(*token, action);
  auto* list = token->add_subcommand("list", "List tokens");
  describe(*list, "", {"vmsctl token list"});
  list->callback([&action]() {
    action = [](const Settings& settings) -> Outcome<int> {
      auto api = ApiClient::open(settings);
      if (!api) return api.error();
      const auto rows = rowsOf(api->get("/v1/tokens"), "tokens");
      if (!rows) return rows.error();
      printRows(settings, *rows, columns());
      return kExitOk;
    };
  });
  auto* revoke = token->add_subcommand("revoke", "Revoke a token");
  auto id = std::make_shared<std::string>();
  describe(*revoke, "It is refused from then on.", {"vmsctl token revoke 4f1c2a9e0b7d"});
  revoke->add_option("TOKEN", *id, "The token's id")->required()->type_name("");
  revoke->callback([&action, id]() {
    action = [id](const Settings& settings) -> Outcome<int> {
      auto api = ApiClient::open(settings);
      if (!api) return api.error();
      const auto view =
          objectOf(api->send("POST", "/v1/tokens/" + encode(*id) + ":revoke", std::nullopt));
      if (!view) return view.error();
      printObject(settings, *view);
      return kExitOk;
    };
  });
}

}  // namespace vms::runner::ctl
