#include "runner/history_names.h"

#include <string>
#include <utility>
#include <vector>

namespace vms::runner {
namespace {

/// A name that the engine does not know now, and what to say if the history does not either.
struct UnknownName {
  HistoryQuery query;  ///< Of its attempts.
  std::string message;
};

std::vector<UnknownName> unknownNames(const EngineState& state, const HistoryQuery& query) {
  std::vector<UnknownName> unknown;
  const auto add = [&unknown](std::string message) -> HistoryQuery& {
    UnknownName& name = unknown.emplace_back();
    name.query.limit = 1;
    name.message = std::move(message);
    return name.query;
  };
  if (query.host && !state.hosts.contains(*query.host)) {
    add("no host is called '" + *query.host +
        "' and the history has none; 'vmsctl host list' shows those that are known")
        .host = query.host;
  }
  if (query.vm && !state.vms.contains(*query.vm)) {
    add("no VM has the id " + query.vm->str() +
        " and the history has none; 'vmsctl vm list' shows those that are defined")
        .vm = query.vm;
  }
  if (query.vm_name && !state.vm_names.contains(*query.vm_name)) {
    add("no VM is called '" + *query.vm_name +
        "' and the history has none; 'vmsctl vm list' shows those that are defined")
        .vm_name = query.vm_name;
  }
  if (query.request && !state.requests.contains(*query.request)) {
    add("no request has the id " + query.request->str() +
        " and the history has none; 'vmsctl request list' shows recent ones")
        .request = query.request;
  }
  return unknown;
}

}  // namespace

asio::awaitable<Result<void>> checkNamesExist(const EngineState* state, Store* store,
                                              HistoryQuery query) {
  const std::vector<UnknownName> unknown = unknownNames(*state, query);
  for (const UnknownName& name : unknown) {
    const Result<HistoryPage> page = co_await store->history(name.query);
    if (!page) co_return page.error();
    if (page->attempts.empty()) {
      Error nobody(ErrorClass::NotFound, name.message);
      co_return nobody;
    }
  }
  co_return Result<void>();
}

}  // namespace vms::runner
