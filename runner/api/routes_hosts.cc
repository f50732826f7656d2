#include <boost/json/array.hpp>
#include <utility>

#include "runner/api/fields.h"
#include "runner/api/routes.h"
#include "runner/api/views.h"

/// Routes under /v1/hosts.
namespace vms::runner::api {
namespace {

/// NotFound for text that can be no host's name.
Result<HostId> readHost(const std::string& text) {
  if (isValidHostId(text)) return text;
  return Error(ErrorClass::NotFound,
               "no host is called '" + text + "'; 'vmsctl host list' shows those that are known");
}

HttpReply hostReply(const HostView& view) { return jsonReply(200, hostJson(view)); }

asio::awaitable<Result<HttpReply>> setDraining(const ApiContext* context, Call call, bool on) {
  const auto host = readHost(call.path[0]);
  if (!host) co_return host.error();
  auto work = [who = call.who, host = *host, on](Service& service) {
    return service.setDraining(who, host, on);
  };
  const auto view = co_await onEngine(context, std::move(work));
  if (!view) co_return view.error();
  co_return hostReply(*view);
}

}  // namespace

asio::awaitable<Result<HttpReply>> listHosts(const ApiContext* context, Call) {
  auto work = [](Service& service) { return service.listHosts(); };
  const auto hosts = co_await onEngine(context, std::move(work));
  if (!hosts) co_return hosts.error();
  json::array list;
  for (const HostView& host : *hosts) list.emplace_back(hostJson(host));
  json::object body;
  body["hosts"] = std::move(list);
  co_return HttpReply(jsonReply(200, std::move(body)));
}

asio::awaitable<Result<HttpReply>> showHost(const ApiContext* context, Call call) {
  const auto host = readHost(call.path[0]);
  if (!host) co_return host.error();
  auto work = [host = *host](Service& service) { return service.showHost(host); };
  const auto view = co_await onEngine(context, std::move(work));
  if (!view) co_return view.error();
  co_return hostReply(*view);
}

asio::awaitable<Result<HttpReply>> showStaging(const ApiContext* context, Call call) {
  const auto host = readHost(call.path[0]);
  if (!host) co_return host.error();
  auto work = [host = *host](Service& service) { return service.staging(host); };
  const auto items = co_await onEngine(context, std::move(work));
  if (!items) co_return items.error();
  json::array list;
  for (const StagingItem& item : *items) list.emplace_back(stagingJson(item));
  json::object body;
  body["host"] = *host;
  body["staging"] = std::move(list);
  co_return HttpReply(jsonReply(200, std::move(body)));
}

asio::awaitable<Result<HttpReply>> drainHost(const ApiContext* context, Call call) {
  return setDraining(context, std::move(call), true);
}

asio::awaitable<Result<HttpReply>> activateHost(const ApiContext* context, Call call) {
  return setDraining(context, std::move(call), false);
}

asio::awaitable<Result<HttpReply>> confirmHost(const ApiContext* context, Call call) {
  const auto host = readHost(call.path[0]);
  if (!host) co_return host.error();
  auto work = [who = call.who, host = *host](Service& service) {
    return service.confirmHost(who, host);
  };
  const auto view = co_await onEngine(context, std::move(work));
  if (!view) co_return view.error();
  co_return hostReply(*view);
}

asio::awaitable<Result<HttpReply>> forgetHost(const ApiContext* context, Call call) {
  const auto host = readHost(call.path[0]);
  if (!host) co_return host.error();
  Fields query = Fields::ofQuery(call.request);
  const bool fenced = query.boolean("fenced").value_or(false);
  if (auto read = query.finish(); !read) co_return read.error();
  auto work = [who = call.who, host = *host, fenced](Service& service) {
    return service.forgetHost(who, host, fenced);
  };
  const auto view = co_await onEngine(context, std::move(work));
  if (!view) co_return view.error();
  co_return hostReply(*view);
}

}  // namespace vms::runner::api
