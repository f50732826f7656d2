#include "schema/base/json.h"

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/value_stack.hpp>
#include <limits>
#include <string>
#include <unordered_set>
#include <vector>

namespace vms {
namespace {

using boost::system::error_code;
using View = json::string_view;

/// Builds a value as json::parser does, and stops at the first key that its object has already.
struct StrictHandler {
  // Names that json::basic_parser prescribes. NOLINTBEGIN(readability-identifier-naming)
  static constexpr std::size_t max_object_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_array_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_key_size = json::string::max_size();
  static constexpr std::size_t max_string_size = json::string::max_size();
  // NOLINTEND(readability-identifier-naming)

  json::value_stack stack;
  std::vector<std::unordered_set<std::string>> open_objects;
  std::string key;
  bool has_duplicate = false;

  StrictHandler() { stack.reset(); }

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_object_begin(error_code&) {
    open_objects.emplace_back();
    return true;
  }
  bool on_object_end(std::size_t size, error_code&) {
    open_objects.pop_back();
    stack.push_object(size);
    return true;
  }
  bool on_array_begin(error_code&) { return true; }
  bool on_array_end(std::size_t size, error_code&) {
    stack.push_array(size);
    return true;
  }
  bool on_key_part(View part, std::size_t, error_code&) {
    key.append(part.data(), part.size());
    stack.push_chars(part);
    return true;
  }
  bool on_key(View part, std::size_t, error_code& error) {
    key.append(part.data(), part.size());
    if (!open_objects.back().insert(key).second) {
      has_duplicate = true;
      error = json::error::syntax;
      return false;
    }
    key.clear();
    stack.push_key(part);
    return true;
  }
  bool on_string_part(View part, std::size_t, error_code&) {
    stack.push_chars(part);
    return true;
  }
  bool on_string(View part, std::size_t, error_code&) {
    stack.push_string(part);
    return true;
  }
  bool on_number_part(View, error_code&) { return true; }
  bool on_int64(std::int64_t number, View, error_code&) {
    stack.push_int64(number);
    return true;
  }
  bool on_uint64(std::uint64_t number, View, error_code&) {
    stack.push_uint64(number);
    return true;
  }
  bool on_double(double number, View, error_code&) {
    stack.push_double(number);
    return true;
  }
  bool on_bool(bool value, error_code&) {
    stack.push_bool(value);
    return true;
  }
  bool on_null(error_code&) {
    stack.push_null();
    return true;
  }
  bool on_comment_part(View, error_code&) { return true; }
  bool on_comment(View, error_code&) { return true; }
};

/// "<what>:<line>:<column>: " of a byte in the text; both count from 1, columns in bytes.
std::string placeOf(std::string_view what, std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, offset);
  std::size_t line = 1;
  std::size_t line_start = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (before[i] != '\n') continue;
    ++line;
    line_start = i + 1;
  }
  return std::string(what) + ":" + std::to_string(line) + ":" +
         std::to_string(before.size() - line_start + 1) + ": ";
}

}  // namespace

Result<json::value> parseJson(std::string_view text, std::string_view what, JsonLimits limits) {
  if (text.size() > limits.max_bytes) {
    return Error(ErrorClass::TooLarge, std::string(what) + " has " + std::to_string(text.size()) +
                                           " bytes; at most " + std::to_string(limits.max_bytes) +
                                           " are allowed");
  }
  json::parse_options options;
  options.max_depth = limits.max_depth;
  json::basic_parser<StrictHandler> parser(options);
  error_code error;
  const std::size_t consumed = parser.write_some(false, text.data(), text.size(), error);
  if (!error && consumed < text.size()) error = json::error::extra_data;
  if (!error) return parser.handler().stack.release();

  const std::string place = placeOf(what, text, consumed);
  if (parser.handler().has_duplicate) {
    return Error(ErrorClass::Invalid,
                 place + "key '" + parser.handler().key + "' occurs twice; name each key once");
  }
  if (error == json::error::too_deep) {
    return Error(ErrorClass::Invalid, place + "nested deeper than the allowed " +
                                          std::to_string(limits.max_depth) + " levels");
  }
  if (error == json::error::incomplete) {
    return Error(ErrorClass::Invalid, place + "the JSON document ends too early");
  }
  return Error(ErrorClass::Invalid, place + "not valid JSON: " + error.message());
}

}  // namespace vms
