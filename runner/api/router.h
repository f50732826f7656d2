#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/json/value.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runner/api/context.h"
#include "runner/api/http_server.h"
#include "runner/service.h"
#include "schema/base/error.h"

namespace vms::runner::api {

namespace json = boost::json;

/// Each role may do what the one before may.
enum class Role { Anyone, Viewer, Operator, Admin };

std::string_view nameOf(Role role) noexcept;
std::optional<Role> parseRole(std::string_view name) noexcept;

/// What a handler gets; the role has been checked and the names of the query parameters too.
struct Call {
  HttpRequest request;
  std::vector<std::string> path;  ///< The values of the pattern's `{…}`, in order.
  Principal who;
};

using RouteHandler = asio::awaitable<Result<HttpReply>> (*)(const ApiContext*, Call);

/// What a route reads after the head.
enum class BodyType { None, Json, JsonOrXml };

/// One row of the table of routes, which schema/openapi.yaml must agree with.
struct Route {
  std::string_view method;
  /// `{name}` stands for one segment, `{name}:verb` for one that ends so.
  std::string_view pattern;
  Role role;
  /// Known query parameters, separated by blanks; those with a '*' may repeat.
  std::string_view query;
  RouteHandler handler;
  BodyType body = BodyType::None;
};

/// The whole table.
std::span<const Route> routes();

struct RouteMatch {
  const Route* route = nullptr;  ///< Null: no such path, or another method.
  std::vector<std::string> path;
  std::vector<std::string> allow;  ///< Methods of that path; empty: no such path.
};

/// HEAD counts as GET, and OPTIONS is allowed wherever anything is.
RouteMatch matchRoute(std::span<const Route> table, const HttpRequest& request);

/// Invalid, naming it: a parameter that the route does not know, that repeats or that is empty.
Result<void> checkQueryNames(const Route& route, const HttpRequest& request);

/// "application/json" for "Application/JSON; charset=utf-8".
std::string mediaTypeOf(std::string_view content_type);

/// RFC 9457, with our error class; adds the headers that go with the status.
HttpResponse problemReply(const Error& error, const HttpRequest& request);
HttpResponse problemReply(int status, const Error& error, const HttpRequest& request);
HttpResponse jsonReply(int status, json::value body, HttpHeaders headers = {});

}  // namespace vms::runner::api
