#include <algorithm>
#include <boost/json/array.hpp>
#include <utility>

#include "runner/api/fields.h"
#include "runner/api/routes.h"
#include "runner/api/token.h"
#include "runner/api/views.h"

/// Routes under /v1/requests but the event stream.
namespace vms::runner::api {
namespace {

constexpr std::size_t kKeyBytes = 255;
constexpr std::int64_t kDeadlineMaxMs = 7LL * 24 * 3600 * 1000;

Result<std::string> readKey(const HttpRequest& request) {
  const auto header = request.headers.find("idempotency-key");
  if (header == request.headers.end()) return std::string();
  const std::string& key = header->second;
  const bool printable =
      std::all_of(key.begin(), key.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  if (key.empty() || key.size() > kKeyBytes || !printable) {
    return Error(ErrorClass::Invalid,
                 "the Idempotency-Key header must be 1 to 255 printable ASCII characters");
  }
  return key;
}

Result<StartRequest> readStart(const HttpRequest& request) {
  auto fields = Fields::ofBody(request);
  if (!fields) return fields.error();
  StartRequest what;
  what.selection = readSelection(*fields);
  what.host = fields->text("host", 64);
  if (what.host && !isValidHostId(*what.host)) fields->refuse("host", "is not a host's name");
  what.avoid = fields->texts("avoid", 1'000).value_or(std::vector<std::string>());
  for (const HostId& host : what.avoid) {
    if (!isValidHostId(host)) fields->refuse("avoid", "holds '" + host + "', not a host's name");
  }
  if (const auto priority = fields->integer("priority", 0, 100)) {
    what.priority = static_cast<int>(*priority);
  }
  what.paused = fields->boolean("paused").value_or(false);
  if (const auto deadline = fields->integer("deadline_ms", 1, kDeadlineMaxMs)) {
    what.deadline = milliseconds(*deadline);
  }
  if (auto read = fields->finish(); !read) return read.error();
  auto key = readKey(request);
  if (!key) return key.error();
  what.idempotency_key = std::move(*key);
  what.body_hash = sha256Hex(fields->canonical());
  return what;
}

HttpReply requestReply(int status, const RequestView& view) {
  return jsonReply(status, requestJson(view),
                   {{"Location", "/v1/requests/" + view.request.id.str()}});
}

}  // namespace

Result<RequestId> readRequestId(const std::string& text) {
  const auto uuid = Uuid::parse(text);
  if (!uuid) {
    return Error(ErrorClass::NotFound, "request '" + text +
                                           "' is not known: ids are UUIDs; 'vmsctl request list' "
                                           "shows recent ones");
  }
  RequestId id;
  id.uuid = *uuid;
  return id;
}

asio::awaitable<Result<HttpReply>> createRequest(const ApiContext* context, Call call) {
  Fields query = Fields::ofQuery(call.request);
  const bool dry_run = query.boolean("dry_run").value_or(false);
  if (auto read = query.finish(); !read) co_return read.error();
  Result<StartRequest> what = readStart(call.request);
  if (!what) co_return what.error();
  if (dry_run) {
    auto work = [what = std::move(*what)](Service& service) mutable {
      return service.dryRun(std::move(what));
    };
    const auto items = co_await onEngine(context, std::move(work));
    if (!items) co_return items.error();
    json::array list;
    for (const DryRunItem& item : *items) list.emplace_back(dryRunJson(item));
    json::object body;
    body["dry_run"] = true;
    body["vms"] = std::move(list);
    co_return HttpReply(jsonReply(200, std::move(body)));
  }
  auto work = [who = call.who, what = std::move(*what)](Service& service) mutable {
    return service.createRequest(std::move(who), std::move(what));
  };
  const auto view = co_await onEngine(context, std::move(work));
  if (!view) co_return view.error();
  co_return requestReply(202, *view);
}

asio::awaitable<Result<HttpReply>> listRequests(const ApiContext* context, Call call) {
  Fields fields = Fields::ofQuery(call.request);
  const auto limit = static_cast<std::size_t>(fields.integer("limit", 1, kPageRows).value_or(100));
  const std::string cursor = fields.text("cursor", 1024).value_or("");
  if (auto read = fields.finish(); !read) co_return read.error();
  auto work = [limit, cursor](Service& service) { return service.listRequests(limit, cursor); };
  const auto page = co_await onEngine(context, std::move(work));
  if (!page) co_return page.error();
  json::array list;
  for (const RequestView& view : page->requests) list.emplace_back(requestJson(view));
  json::object body;
  body["requests"] = std::move(list);
  body["next_cursor"] = page->next_cursor.empty() ? json::value() : json::value(page->next_cursor);
  co_return HttpReply(jsonReply(200, std::move(body)));
}

asio::awaitable<Result<HttpReply>> showRequest(const ApiContext* context, Call call) {
  const auto id = readRequestId(call.path[0]);
  if (!id) co_return id.error();
  auto work = [id = *id](Service& service) { return service.showRequest(id); };
  const auto view = co_await onEngine(context, std::move(work));
  if (!view) co_return view.error();
  co_return HttpReply(jsonReply(200, requestJson(*view)));
}

asio::awaitable<Result<HttpReply>> cancelRequest(const ApiContext* context, Call call) {
  const auto id = readRequestId(call.path[0]);
  if (!id) co_return id.error();
  auto work = [who = call.who, id = *id](Service& service) {
    return service.cancelRequest(who, id);
  };
  const auto view = co_await onEngine(context, std::move(work));
  if (!view) co_return view.error();
  co_return requestReply(202, *view);
}

}  // namespace vms::runner::api
