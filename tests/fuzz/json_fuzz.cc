#include <boost/json/serialize.hpp>

#include "schema/base/json.h"
#include "tests/fuzz/target.h"

/// What is accepted is written and read again as the same value.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto value = vms::parseJson(vms::fuzz::textOf(data, size), "input", {4096, 16});
  if (!value) return 0;
  const auto again = vms::parseJson(vms::json::serialize(*value), "again", {1U << 20U, 16});
  VMS_CHECK(again && *again == *value, "a document means the same after a round trip");
  return 0;
}
