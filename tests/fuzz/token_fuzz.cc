#include "runner/api/fields.h"
#include "runner/api/token.h"
#include "schema/base/memory_size.h"
#include "schema/base/net_address.h"
#include "schema/base/time.h"
#include "schema/base/uuid.h"
#include "tests/fuzz/target.h"

/// Small texts that people and programs write: tokens, ids, times, sizes, addresses, gates, labels.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vms;  // NOLINT: one function.
  const std::string_view text = fuzz::textOf(data, size);
  if (const auto token = runner::api::parseToken(text)) {
    VMS_CHECK("vms_" + token->id + "_" + token->secret == text, "a token is all of its text");
  }
  if (const auto uuid = Uuid::parse(text)) {
    VMS_CHECK(Uuid::parse(uuid->str()) == uuid, "an id survives a round trip");
  }
  if (const auto time = parseRfc3339(text)) {
    VMS_CHECK(parseRfc3339(formatRfc3339(*time)) == time, "a time survives a round trip");
  }
  if (const auto duration = parseDuration(text)) {
    VMS_CHECK(*duration >= Duration{}, "durations do not go back");
  }
  static_cast<void>(parseMemorySize(text));
  if (const auto address = parseNetAddress(text)) {
    const auto again = parseNetAddress(formatNetAddress(*address));
    VMS_CHECK(again && again->host == address->host && again->port == address->port,
              "an address survives a round trip");
  }
  if (const auto gate = runner::api::parseGate(text)) {
    const auto again = runner::api::parseGate(runner::api::formatGate(*gate));
    VMS_CHECK(again && *again == *gate, "a gate survives a round trip");
  }
  static_cast<void>(runner::api::parseLabels(text));
  return 0;
}
