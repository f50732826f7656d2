#pragma once

#include <string>
#include <string_view>

#include "runner/api/http_server.h"
#include "schema/base/error.h"

/// The parts of HTTP/1.1 that are text and decisions; no sockets.
namespace vms::runner::api {

/// Fills `segments` and `query` from `request.target` (origin or absolute form). Invalid: a bad
/// percent escape, a control character, an empty or relative path. A '+' stands for itself.
Result<void> parseTarget(HttpRequest& request);

/// "Not Found" for 404; "Status" for a number without a name.
std::string_view reasonOf(int status) noexcept;

/// How a response ends its body.
enum class Framing { Length, Chunked, UntilClose };

/// Status line and headers with the blank line. `length` counts only with Framing::Length.
std::string responseHead(int status, const HttpHeaders& headers, Framing framing,
                         std::size_t length, bool keep_alive);

/// One chunk of Framing::Chunked; the last one for empty data.
std::string chunkOf(std::string_view data);

}  // namespace vms::runner::api
