#pragma once

#include <filesystem>

#include "schema/base/error.h"
#include "schema/base/time.h"
#include "tests/bench/history_rows.h"

namespace vms::bench {

/// What the database in a kept folder was filled with: enough to measure it again.
struct KeptHistory {
  HistoryShape shape;
  WallTime end;
};

/// Into a file of `folder`.
Result<void> writeKept(const std::filesystem::path& folder, const KeptHistory& kept);
/// NotFound, Invalid: `folder` has no filled database.
Result<KeptHistory> readKept(const std::filesystem::path& folder);

}  // namespace vms::bench
