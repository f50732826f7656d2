#pragma once

#include <boost/json/value.hpp>
#include <cstddef>
#include <string_view>

#include "schema/base/error.h"

namespace vms {

namespace json = boost::json;

struct JsonLimits {
  std::size_t max_bytes = std::size_t{1} << 20U;
  std::size_t max_depth = 32;
};

/// Parses one whole document, strictly: UTF-8, no comments, no trailing commas, and no key twice in
/// one object (Boost.JSON alone would keep the last one silently).
///
/// `what` begins the message, followed by line and column: "body:2:7: …". TooLarge: over
/// `max_bytes`, nothing was parsed. Invalid: everything else.
Result<json::value> parseJson(std::string_view text, std::string_view what,
                              JsonLimits limits = JsonLimits());

}  // namespace vms
