#include "runner/api/dispatch.h"

#include <utility>

#include "runner/api/auth.h"
#include "runner/api/http_figures.h"
#include "runner/api/routes.h"
#include "runner/api/wrong_tokens.h"
#include "schema/base/log.h"

namespace vms::runner::api {
namespace {

/// What `admit` found, for `handle`.
struct Admitted {
  const Route* route = nullptr;
  std::vector<std::string> path;
  Principal who;
};

/// A request under way, counted whatever becomes of it.
class Counted {
 public:
  Counted(const ApiContext* context, const Route* route)
      : context_(context), route_(route), began_(context->clock.now()) {
    context_->counters.began();
  }
  ~Counted() { context_->counters.finished(route_, status_, context_->clock.now() - began_); }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

  void answered(int status) { status_ = status; }

 private:
  const ApiContext* context_;
  const Route* route_;
  TimePoint began_;
  int status_ = 500;  ///< Until it is answered.
};

std::string methodsOf(const RouteMatch& match) {
  std::string list;
  for (const std::string& method : match.allow) list += (list.empty() ? "" : ", ") + method;
  return list;
}

/// Without a route: 404, 405, or the answer to OPTIONS.
HttpResponse withoutRoute(const RouteMatch& match, const HttpRequest& request) {
  if (request.method == "OPTIONS" && request.target == "*") return HttpResponse(204, {}, {});
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

/// The answer to a request whose token does not do.
HttpResponse refuseToken(const ApiContext* context, const Error& why, bool has_token,
                         const HttpRequest& request) {
  if (why.error_class != ErrorClass::Unauthenticated || !has_token ||
      context->wrong_tokens == nullptr) {
    return problemReply(why, request);
  }
  const std::string address = request.peer.substr(0, request.peer.rfind(':'));
  const auto wait = context->wrong_tokens->note(address, context->clock.now());
  if (!wait) return problemReply(why, request);
  const Error slower(ErrorClass::RateLimited,
                     "too many wrong tokens came from " + address +
                         "; wait as Retry-After says, and send a token of this engine");
  HttpResponse response = problemReply(slower, request);
  for (auto& [name, value] : response.headers) {
    if (name == "Retry-After") value = std::to_string((toMs(*wait) + 999) / 1000);
  }
  return response;
}

/// What the head says of the body must be what the route takes.
std::optional<HttpResponse> refuseBody(const Route& route, const HttpRequest& request) {
  if (!request.has_body) return std::nullopt;
  if (route.body == BodyType::None) {
    return problemReply(Error(ErrorClass::Invalid, "this route takes no body; leave it out"),
                        request);
  }
  const auto header = request.headers.find("content-type");
  if (header == request.headers.end()) return std::nullopt;
  const std::string type = mediaTypeOf(header->second);
  const bool xml = route.body == BodyType::JsonOrXml;
  if (type == "application/json" || (xml && (type == "application/xml" || type == "text/xml"))) {
    return std::nullopt;
  }
  return problemReply(415,
                      Error(ErrorClass::Invalid,
                            "content type '" + header->second + "' is not served here; send " +
                                (xml ? "application/json or application/xml" : "application/json")),
                      request);
}

/// Refused in its head: its body is not read, and no handler sees it.
void countRefusal(const ApiContext* context, const Route* route, TimePoint began,
                  const HttpResponse& refusal) {
  context->counters.began();
  context->counters.finished(route, refusal.status, context->clock.now() - began);
}

asio::awaitable<Admission> judge(const ApiContext* context, HttpRequest request) {
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
      admission.refusal =
          refuseToken(context, who.error(),
                      header != request.headers.end() && !header->second.empty(), request);
      co_return admission;
    }
    admitted->who = std::move(*who);
    admission.token = admitted->who.name;
  }
  if (auto names = checkQueryNames(*match.route, request); !names) {
    admission.refusal = problemReply(names.error(), request);
    co_return admission;
  }
  admission.refusal = refuseBody(*match.route, request);
  if (admission.refusal) co_return admission;
  admitted->route = match.route;
  admitted->path = std::move(match.path);
  admission.context = std::move(admitted);
  co_return admission;
}

asio::awaitable<Admission> admit(const ApiContext* context, HttpRequest request) {
  const TimePoint began = context->clock.now();
  const Route* route = matchRoute(routes(), request).route;
  Admission admission = co_await judge(context, std::move(request));
  if (admission.refusal) countRefusal(context, route, began, *admission.refusal);
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
  Counted counted(context, route);
  const std::string who = call.who.name;
  Result<HttpReply> reply = co_await route->handler(context, std::move(call));
  const auto* whole = reply ? std::get_if<HttpResponse>(&*reply) : nullptr;
  const int status = whole != nullptr ? whole->status
                     : reply          ? 200
                                      : traitsOf(reply.error().error_class).http_status;
  counted.answered(status);
  log::debug("http: {} {} by {} from {}: {}", method, named.target, who, peer, status);
  if (reply) co_return std::move(*reply);
  if (reply.error().error_class == ErrorClass::Internal) {
    log::error("http: {} {}: {}", method, named.target, reply.error().message);
  }
  co_return HttpReply(problemReply(reply.error(), named));
}

HttpResponse serverProblem(const ApiContext* context, int status, std::string detail) {
  context->counters.refused(status);
  const ErrorClass error_class = status == 413 || status == 431 ? ErrorClass::TooLarge
                                 : status == 408                ? ErrorClass::Deadline
                                 : status == 429                ? ErrorClass::RateLimited
                                 : status == 503                ? ErrorClass::Unavailable
                                                                : ErrorClass::Invalid;
  return problemReply(status, Error(error_class, std::move(detail)), HttpRequest());
}

}  // namespace

HttpHandlers dispatchHandlers(const ApiContext* context) {
  HttpHandlers all;
  all.admit = [context](HttpRequest request) { return admit(context, std::move(request)); };
  all.handle = [context](HttpRequest request) { return handle(context, std::move(request)); };
  all.problem = [context](int status, std::string detail) {
    return serverProblem(context, status, std::move(detail));
  };
  return all;
}

}  // namespace vms::runner::api
