#include "runner/api/http_wire.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "schema/base/utf8.h"

namespace vms::runner::api {
namespace {

int hexValue(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool isControl(char c) noexcept { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

std::optional<std::string> percentDecode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hexValue(text[i + 1]);
      const int low = hexValue(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (isControl(c)) return std::nullopt;
    out.push_back(c);
  }
  if (!isUtf8(out)) return std::nullopt;
  return out;
}

Error badTarget(std::string_view part) {
  return Error(ErrorClass::Invalid, fmt::format("the {} of the request's address has a bad percent "
                                                "escape or a control character; encode it as UTF-8 "
                                                "and percent escapes",
                                                part));
}

/// What follows scheme and authority of the absolute form.
std::string_view withoutAuthority(std::string_view target) {
  const std::size_t scheme = target.find("://");
  if (scheme == std::string_view::npos || target.front() == '/') return target;
  const std::size_t path = target.find_first_of("/?", scheme + 3);
  return path == std::string_view::npos ? std::string_view("/") : target.substr(path);
}

Result<void> parseQuery(std::string_view text, HttpRequest& request) {
  while (!text.empty()) {
    const std::size_t end = text.find('&');
    const std::string_view pair = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    auto name = percentDecode(pair.substr(0, equals));
    auto value = percentDecode(equals == std::string_view::npos ? std::string_view()
                                                                : pair.substr(equals + 1));
    if (!name || !value) return badTarget("query");
    request.query.emplace(std::move(*name), std::move(*value));
  }
  return {};
}

}  // namespace

Result<void> parseTarget(HttpRequest& request) {
  request.segments.clear();
  request.query.clear();
  if (request.target == "*") return {};
  if (request.target.empty()) return badTarget("path");
  const std::string_view target = withoutAuthority(request.target);
  const std::size_t question = target.find('?');
  std::string_view path = target.substr(0, question);
  if (path.empty() || path.front() != '/') return badTarget("path");
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::size_t end = path.find('/');
    auto segment = percentDecode(path.substr(0, end));
    if (!segment) return badTarget("path");
    request.segments.push_back(std::move(*segment));
    path = end == std::string_view::npos ? std::string_view() : path.substr(end);
  }
  if (question == std::string_view::npos) return {};
  return parseQuery(target.substr(question + 1), request);
}

std::string_view reasonOf(int status) noexcept {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    case 507:
      return "Insufficient Storage";
    default:
      return "Status";
  }
}

std::string responseHead(int status, const HttpHeaders& headers, Framing framing,
                         std::size_t length, bool keep_alive) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\n", status, reasonOf(status));
  for (const auto& [name, value] : headers) {
    head += name + ": ";
    // A line end inside a value would start a header of its own.
    for (const char c : value) head.push_back(isControl(c) ? ' ' : c);
    head += "\r\n";
  }
  if (framing == Framing::Chunked) head += "Transfer-Encoding: chunked\r\n";
  if (framing == Framing::Length && status != 204) {
    head += fmt::format("Content-Length: {}\r\n", length);
  }
  head += keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  return head;
}

std::string chunkOf(std::string_view data) {
  if (data.empty()) return "0\r\n\r\n";
  return fmt::format("{:x}\r\n{}\r\n", data.size(), data);
}

}  // namespace vms::runner::api
