#include <boost/json/array.hpp>
#include <utility>

#include "runner/api/fields.h"
#include "runner/api/routes.h"
#include "runner/api/views.h"

/// Routes under /v1/vms.
namespace vms::runner::api {
namespace {

constexpr std::size_t kCursorBytes = 1024;

template <class Settings>
void copySettings(SettingFields from, Settings& to) {
  to.priority = from.priority;
  to.ha = from.ha;
  to.tier = from.tier;
  to.after = std::move(from.after);
  to.gate = std::move(from.gate);
  to.labels = std::move(from.labels);
}

bool isXml(const HttpRequest& request) {
  const auto type = request.headers.find("content-type");
  const std::string name = type == request.headers.end() ? "" : mediaTypeOf(type->second);
  return name == "application/xml" || name == "text/xml";
}

/// The document as the body, settings in the query.
Result<DefineVms> readXmlDefinition(HttpRequest request) {
  Fields fields = Fields::ofQuery(request);
  DefineVms what;
  copySettings(readSettings(fields, "label"), what);
  if (auto read = fields.finish(); !read) return read.error();
  if (request.body.empty()) {
    return Error(ErrorClass::Invalid, "the request has no body; send domain XML");
  }
  what.xml = std::move(request.body);
  return what;
}

Result<DefineVms> readJsonDefinition(HttpRequest request) {
  if (!request.query.empty()) {
    return Error(ErrorClass::Invalid,
                 "query parameter '" + request.query.begin()->first +
                     "' goes with an XML body; in a JSON body settings are fields");
  }
  auto fields = Fields::ofBody(request);
  if (!fields) return fields.error();
  DefineVms what;
  const auto xml = fields->text("xml", request.body.size());
  copySettings(readSettings(*fields, "labels"), what);
  if (auto read = fields->finish(); !read) return read.error();
  if (!xml) return Error(ErrorClass::Invalid, "field 'xml' is missing; give domain XML");
  what.xml = *xml;
  return what;
}

}  // namespace

VmSelection readSelection(Fields& fields) {
  VmSelection which;
  const auto vms = fields.texts("vms");
  const auto all = fields.boolean("all");
  const auto selector = fields.labels("selector");
  if (vms) which.vms = *vms;
  if (selector) which.selector = *selector;
  which.all = all.value_or(false);
  const int given = (vms ? 1 : 0) + (which.all ? 1 : 0) + (selector ? 1 : 0);
  if (given != 1) {
    fields.refuse("vms", "or 'all' (true) or 'selector' must be given, and only one of them");
  } else if (vms && vms->empty()) {
    fields.refuse("vms", "names no VM");
  } else if (selector && selector->empty()) {
    fields.refuse("selector", "names no label");
  }
  return which;
}

asio::awaitable<Result<HttpReply>> defineVms(const ApiContext* context, Call call) {
  Result<DefineVms> what = isXml(call.request) ? readXmlDefinition(std::move(call.request))
                                               : readJsonDefinition(std::move(call.request));
  if (!what) co_return what.error();
  auto work = [who = call.who, what = std::move(*what)](Service& service) mutable {
    return service.defineVms(std::move(who), std::move(what));
  };
  const auto defined = co_await onEngine(context, std::move(work));
  if (!defined) co_return defined.error();
  json::array list;
  for (const VmView& vm : *defined) list.emplace_back(vmJson(vm, false));
  json::object body;
  body["vms"] = std::move(list);
  co_return HttpReply(jsonReply(201, std::move(body)));
}

asio::awaitable<Result<HttpReply>> listVms(const ApiContext* context, Call call) {
  Fields fields = Fields::ofQuery(call.request);
  std::map<std::string, std::string> selector;
  if (auto labels = fields.labels("selector")) selector = std::move(*labels);
  const auto limit =
      static_cast<std::size_t>(fields.integer("limit", 1, kPageRows).value_or(kPageRows));
  const std::string cursor = fields.text("cursor", kCursorBytes).value_or("");
  if (auto read = fields.finish(); !read) co_return read.error();
  auto work = [selector, limit, cursor](Service& service) {
    return service.listVms(selector, limit, cursor);
  };
  const auto page = co_await onEngine(context, std::move(work));
  if (!page) co_return page.error();
  json::array list;
  for (const VmView& vm : page->vms) list.emplace_back(vmJson(vm, false));
  json::object body;
  body["vms"] = std::move(list);
  body["next_cursor"] = page->next_cursor.empty() ? json::value() : json::value(page->next_cursor);
  co_return HttpReply(jsonReply(200, std::move(body)));
}

asio::awaitable<Result<HttpReply>> showVm(const ApiContext* context, Call call) {
  auto work = [vm = call.path[0]](Service& service) { return service.showVm(vm); };
  const auto view = co_await onEngine(context, std::move(work));
  if (!view) co_return view.error();
  co_return HttpReply(jsonReply(200, vmJson(*view, true)));
}

asio::awaitable<Result<HttpReply>> setVm(const ApiContext* context, Call call) {
  auto fields = Fields::ofBody(call.request);
  if (!fields) co_return fields.error();
  VmSettings settings;
  copySettings(readSettings(*fields, "labels"), settings);
  if (auto read = fields->finish(); !read) co_return read.error();
  auto work = [who = call.who, vm = call.path[0], settings](Service& service) {
    return service.setVm(who, vm, settings);
  };
  const auto view = co_await onEngine(context, std::move(work));
  if (!view) co_return view.error();
  co_return HttpReply(jsonReply(200, vmJson(*view, true)));
}

asio::awaitable<Result<HttpReply>> undefineVm(const ApiContext* context, Call call) {
  auto work = [who = call.who, vm = call.path[0]](Service& service) {
    return service.undefineVm(who, vm);
  };
  const auto done = co_await onEngine(context, std::move(work));
  if (!done) co_return done.error();
  co_return HttpReply(HttpResponse(204, {}, {}));
}

asio::awaitable<Result<HttpReply>> stopVms(const ApiContext* context, Call call) {
  auto fields = Fields::ofBody(call.request);
  if (!fields) co_return fields.error();
  StopVms what;
  what.selection = readSelection(*fields);
  what.force = fields->boolean("force").value_or(false);
  if (auto read = fields->finish(); !read) co_return read.error();
  auto work = [who = call.who, what = std::move(what)](Service& service) mutable {
    return service.stopVms(std::move(who), std::move(what));
  };
  const auto items = co_await onEngine(context, std::move(work));
  if (!items) co_return items.error();
  json::array list;
  for (const StopItem& item : *items) list.emplace_back(stopJson(item));
  json::object body;
  body["vms"] = std::move(list);
  co_return HttpReply(jsonReply(202, std::move(body)));
}

}  // namespace vms::runner::api
