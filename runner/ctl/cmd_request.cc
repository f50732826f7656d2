#include <CLI/App.hpp>
#include <memory>

#include "runner/ctl/commands.h"
#include "runner/ctl/follow.h"
#include "runner/ctl/output.h"
#include "schema/base/cli_text.h"

/// request list, show, watch, cancel.
namespace vms::runner::ctl {
namespace {

std::vector<Column> columns() {
  return {{"request_id", "REQUEST"},
          {"state", "STATE", false, true},
          {"total", "TOTAL"},
          {"queued", "QUEUED"},
          {"running", "RUNNING"},
          {"ready", "READY"},
          {"failed", "FAILED"},
          {"held", "HELD"},
          {"unknown", "UNKNOWN"},
          {"cancelled", "CANCELLED"},
          {"created_at", "CREATED", true}};
}

void addList(CLI::App& request, Action& action) {
  auto* command = request.add_subcommand("list", "List requests, newest first");
  auto limit = std::make_shared<std::size_t>(50);
  describe(*command, "", {"vmsctl request list --limit 10"});
  command->add_option("--limit", *limit, "At most so many; default 50")
      ->type_name("N")
      ->check(CLI::Range(1, 1'000'000));
  command->callback([&action, limit]() {
    action = [limit](const Settings& settings) -> Outcome<int> {
      auto api = ApiClient::open(settings);
      if (!api) return api.error();
      const auto rows = api->getAll("/v1/requests", {}, "requests", *limit);
      if (!rows) return rows.error();
      printRows(settings, *rows, columns());
      return kExitOk;
    };
  });
}

/// A command on one request, by its id.
void addOne(CLI::App& request, const char* name, const char* help, const std::string& details,
            Action& action,
            std::function<Outcome<int>(ApiClient&, const Settings&, const std::string&)> work) {
  auto* command = request.add_subcommand(name, help);
  auto id = std::make_shared<std::string>();
  describe(*command, details,
           {std::string("vmsctl request ") + name + " 01a1fbd5-e9b6-741e-82ea-cd7eb4dae37c"});
  command->add_option("REQUEST", *id, "The request's id")->required()->type_name("");
  command->callback([&action, id, work]() {
    action = [id, work](const Settings& settings) -> Outcome<int> {
      auto api = ApiClient::open(settings);
      if (!api) return api.error();
      return work(*api, settings, *id);
    };
  });
}

Outcome<int> show(ApiClient& api, const Settings& settings, const std::string& id) {
  const auto view = objectOf(api.get("/v1/requests/" + encode(id)));
  if (!view) return view.error();
  printObject(settings, *view);
  return kExitOk;
}

Outcome<int> cancel(ApiClient& api, const Settings& settings, const std::string& id) {
  const auto view =
      objectOf(api.send("POST", "/v1/requests/" + encode(id) + ":cancel", std::nullopt));
  if (!view) return view.error();
  printObject(settings, *view);
  return kExitOk;
}

Outcome<int> watch(ApiClient& api, const Settings& settings, const std::string& id) {
  Follow follow;
  follow.request_id = id;
  follow.started = api.clock().now();
  follow.deadline = deadlineOf(settings, api.clock());
  follow.each_state = settings.format() == Output::Ndjson;
  return followRequest(api, settings, follow);
}

}  // namespace

void addRequestCommands(CLI::App& app, Action& action) {
  auto* request = app.add_subcommand("request", "Show and cancel requests");
  request->require_subcommand(1);
  addList(*request, action);
  addOne(*request, "show", "Show a request", "", action, show);
  addOne(*request, "watch", "Show progress until it is finished",
         "Exit status 0 when all VMs are up, 1 when some failed, 3 when --timeout passed. Ctrl-C "
         "ends\n"
         "the watching, not the request. With --output ndjson each state is one line.",
         action, watch);
  addOne(*request, "cancel", "Cancel what has not started yet", "VMs that run already go on.",
         action, cancel);
}

}  // namespace vms::runner::ctl
