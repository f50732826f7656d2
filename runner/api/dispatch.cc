#include "runner/api/dispatch.h"

#include <utility>

#include "runner/api/auth.h"
#include "runner/api/routes.h"
#include "schema/base/log.h"

namespace vms::runner::api {
namespace {

/// What `admit` found, for `handle`.
struct Admitted {
  const Route* route = nullptr;
  std::vector<std::string> path;
  Principal who;
};

std::string methodsOf(const RouteMatch& match) {
  std::string list;
  for (const std::string& method : match.allow) list += (list.empty() ? "" : ", ") + method;
  return list;
}

/// Without a route: 404, 405, or the answer to OPTIONS.
HttpResponse withoutRoute(const RouteMatch& match, const HttpRequest& request) {
  if (match.allow.empty()) {
    return problemReply(Error(ErrorClass::NotFound,
                              "there is nothing at this address; see "
                              "/v1/openapi.yaml for what is served"),
                        request);
  }
  const std::string methods = methodsOf(match);
  HttpResponse response(204, {}, {});
  if (request.method != "OPTIONS") {
    response = problemReply(405,
                            Error(ErrorClass::Invalid, "method " + request.method +
                                                           " is not served here; use " + methods),
                            request);
  }
  response.headers.emplace_back("Allow", methods);
  return response;
}

asio::awaitable<Admission> admit(const ApiContext* context, HttpRequest request) {
  Admission admission;
  RouteMatch match = matchRoute(routes(), request);
  if (match.route == nullptr) {
    admission.refusal = withoutRoute(match, request);
    co_return admission;
  }
  auto admitted = std::make_shared<Admitted>();
  if (match.route->role != Role::Anyone) {
    const auto header = request.headers.find("authorization");
    std::string authorization = header == request.headers.end() ? std::string() : header->second;
    auto who = co_await context->authenticator.authenticate(context, std::move(authorization),
                                                            match.route->role);
    if (!who) {
      admission.refusal = problemReply(who.error(), request);
      co_return admission;
    }
    admitted->who = std::move(*who);
  }
  if (auto names = checkQueryNames(*match.route, request); !names) {
    admission.refusal = problemReply(names.error(), request);
    co_return admission;
  }
  admitted->route = match.route;
  admitted->path = std::move(match.path);
  admission.context = std::move(admitted);
  co_return admission;
}

asio::awaitable<HttpReply> handle(const ApiContext* context, HttpRequest request) {
  const auto* admitted = static_cast<const Admitted*>(request.context.get());
  // What a problem document names; the rest moves into the call.
  HttpRequest named;
  named.target = request.target;
  const std::string method = request.method;
  const std::string peer = request.peer;
  Call call;
  call.path = admitted->path;
  call.who = admitted->who;
  call.request = std::move(request);
  const Route* route = admitted->route;
  const std::string who = call.who.name;
  Result<HttpReply> reply = co_await route->handler(context, std::move(call));
  const auto* whole = reply ? std::get_if<HttpResponse>(&*reply) : nullptr;
  const int status = whole != nullptr ? whole->status
                     : reply          ? 200
                                      : traitsOf(reply.error().error_class).http_status;
  log::debug("http: {} {} by {} from {}: {}", method, named.target, who, peer, status);
  if (reply) co_return std::move(*reply);
  if (reply.error().error_class == ErrorClass::Internal) {
    log::error("http: {} {}: {}", method, named.target, reply.error().message);
  }
  co_return HttpReply(problemReply(reply.error(), named));
}

HttpResponse serverProblem(int status, std::string detail) {
  const ErrorClass error_class = status == 413 || status == 431 ? ErrorClass::TooLarge
                                 : status == 503                ? ErrorClass::Unavailable
                                                                : ErrorClass::Invalid;
  return problemReply(status, Error(error_class, std::move(detail)), HttpRequest());
}

}  // namespace

HttpHandlers dispatchHandlers(const ApiContext* context) {
  HttpHandlers all;
  all.admit = [context](HttpRequest request) { return admit(context, std::move(request)); };
  all.handle = [context](HttpRequest request) { return handle(context, std::move(request)); };
  all.problem = serverProblem;
  return all;
}

}  // namespace vms::runner::api
