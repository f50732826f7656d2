#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cmath>

#include "schema/base/json.h"
#include "tests/fuzz/target.h"

namespace {

namespace json = boost::json;

/// Equal, but that numbers with many digits may differ in the last of them: Boost.JSON rounds.
bool same(const json::value& a, const json::value& b) {
  if (a.is_double() && b.is_double()) {
    const double low = std::min(a.get_double(), b.get_double());
    const double high = std::max(a.get_double(), b.get_double());
    return low == high || high - low <= 1e-12 * std::max(std::fabs(low), std::fabs(high));
  }
  if (a.is_array() && b.is_array()) {
    return std::equal(a.get_array().begin(), a.get_array().end(), b.get_array().begin(),
                      b.get_array().end(), same);
  }
  if (a.is_object() && b.is_object()) {
    const json::object& other = b.get_object();
    return a.get_object().size() == other.size() &&
           std::all_of(a.get_object().begin(), a.get_object().end(), [&](const auto& member) {
             const json::value* const found = other.if_contains(member.key());
             return found != nullptr && same(member.value(), *found);
           });
  }
  return a == b;
}

/// Boost.JSON takes numbers beyond all doubles for infinite and writes something else for those.
bool finite(const json::value& value) {
  if (value.is_double()) return std::isfinite(value.get_double());
  if (value.is_array()) {
    return std::all_of(value.get_array().begin(), value.get_array().end(), finite);
  }
  if (!value.is_object()) return true;
  return std::all_of(value.get_object().begin(), value.get_object().end(),
                     [](const auto& member) { return finite(member.value()); });
}

}  // namespace

/// What is accepted is written and read again as the same value.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto value = vms::parseJson(vms::fuzz::textOf(data, size), "input", {4096, 16});
  if (!value || !finite(*value)) return 0;
  const auto again = vms::parseJson(json::serialize(*value), "again", {1U << 20U, 16});
  VMS_CHECK(again && same(*again, *value), "a document means the same after a round trip");
  return 0;
}
