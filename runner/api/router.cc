#include "runner/api/router.h"

#include <algorithm>
#include <array>
#include <boost/json/serialize.hpp>
#include <set>
#include <utility>

namespace vms::runner::api {
namespace {

constexpr std::array<std::string_view, 4> kRoles = {"anyone", "viewer", "operator", "admin"};

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = text.find(separator);
    if (end != 0) parts.push_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return parts;
}

/// The values of the pattern's variables, or nothing.
std::optional<std::vector<std::string>> matchPath(std::string_view pattern,
                                                  const std::vector<std::string>& segments) {
  const auto wanted = split(pattern, '/');
  if (wanted.size() != segments.size()) return std::nullopt;
  std::vector<std::string> values;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const std::string& segment = segments[i];
    if (wanted[i].front() != '{') {
      if (segment != wanted[i]) return std::nullopt;
      continue;
    }
    const std::string_view suffix = wanted[i].substr(wanted[i].find('}') + 1);
    if (segment.size() <= suffix.size() || !segment.ends_with(suffix)) return std::nullopt;
    values.push_back(segment.substr(0, segment.size() - suffix.size()));
  }
  return values;
}

std::string pathOf(const HttpRequest& request) {
  return request.target.substr(0, request.target.find('?'));
}

}  // namespace

std::string_view nameOf(Role role) noexcept { return kRoles[static_cast<std::size_t>(role)]; }

std::optional<Role> parseRole(std::string_view name) noexcept {
  for (std::size_t i = 1; i < kRoles.size(); ++i) {
    if (kRoles[i] == name) return static_cast<Role>(i);
  }
  return std::nullopt;
}

RouteMatch matchRoute(std::span<const Route> table, const HttpRequest& request) {
  const std::string method = request.method == "HEAD" ? std::string("GET") : request.method;
  RouteMatch match;
  std::set<std::string> allow;
  for (const Route& route : table) {
    auto values = matchPath(route.pattern, request.segments);
    if (!values) continue;
    allow.emplace(route.method);
    if (route.method != method || match.route != nullptr) continue;
    match.route = &route;
    match.path = std::move(*values);
  }
  if (allow.empty()) return match;
  if (allow.contains("GET")) allow.insert("HEAD");
  allow.insert("OPTIONS");
  match.allow.assign(allow.begin(), allow.end());
  return match;
}

Result<void> checkQueryNames(const Route& route, const HttpRequest& request) {
  const auto known = split(route.query, ' ');
  for (const auto& [name, value] : request.query) {
    const bool once = std::find(known.begin(), known.end(), name) != known.end();
    const bool many = std::find(known.begin(), known.end(), name + "*") != known.end();
    if (!once && !many) {
      std::string list;
      for (const std::string_view word : known) {
        list += (list.empty() ? "" : ", ") + std::string(word.substr(0, word.find('*')));
      }
      return Error(ErrorClass::Invalid,
                   "unknown query parameter '" + name + "'; " +
                       (list.empty() ? "this route has none" : "this route knows " + list));
    }
    if (once && request.query.count(name) > 1) {
      return Error(ErrorClass::Invalid,
                   "query parameter '" + name + "' occurs twice; give it once");
    }
    if (value.empty()) {
      return Error(ErrorClass::Invalid,
                   "query parameter '" + name + "' is empty; give it a value or leave it out");
    }
  }
  return {};
}

std::string mediaTypeOf(std::string_view content_type) {
  std::string type(content_type.substr(0, content_type.find(';')));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.pop_back();
  for (char& c : type) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return type;
}

HttpResponse problemReply(int status, const Error& error, const HttpRequest& request) {
  const std::string name(nameOf(error.error_class));
  std::string title = name;
  std::replace(title.begin(), title.end(), '_', ' ');
  json::object body;
  body["type"] = "urn:vmsrunner:error:" + name;
  body["title"] = title;
  body["status"] = status;
  body["detail"] = error.message;
  body["instance"] = request.target.empty() ? json::value() : json::value(pathOf(request));
  body["error_class"] = name;
  HttpResponse response = jsonReply(status, std::move(body));
  response.headers.front().second = "application/problem+json";
  if (status == 401) {
    response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"vmsrunner\"");
  }
  if (status == 429 || status == 503) response.headers.emplace_back("Retry-After", "1");
  return response;
}

HttpResponse problemReply(const Error& error, const HttpRequest& request) {
  return problemReply(traitsOf(error.error_class).http_status, error, request);
}

HttpResponse jsonReply(int status, json::value body, HttpHeaders headers) {
  HttpResponse response;
  response.status = status;
  response.headers.emplace_back("Content-Type", "application/json");
  response.headers.emplace_back("Cache-Control", "no-store");
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  for (auto& header : headers) response.headers.push_back(std::move(header));
  response.body = json::serialize(body);
  response.body.push_back('\n');
  return response;
}

}  // namespace vms::runner::api
