#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runner/store.h"
#include "schema/base/time.h"
#include "schema/ids.h"

namespace vms::runner {

/// Where a page of history ended; the next one begins below it.
struct HistoryCursor {
  WallTime requested_at;
  AttemptId attempt;
  std::uint32_t query = 0;  ///< Fingerprint of the filters that it belongs to.
  bool operator==(const HistoryCursor&) const = default;
};

/// The same for the same filters; limit and cursor are no filters.
std::uint32_t fingerprintOf(const HistoryQuery& query);

/// Letters and digits only. Carries a checksum, so that what was cut or mistyped is noticed; it
/// grants nothing and is no secret.
std::string encodeCursor(const HistoryCursor& cursor);
std::optional<HistoryCursor> decodeCursor(std::string_view text);

}  // namespace vms::runner
