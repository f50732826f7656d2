#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include "runner/store.h"

namespace vms::runner {

/// Reads a Snapshot but for its marks. What is finished is bounded: requests of the last day up to
/// `kLoadedItems` items, newest first, and `kLoadedPerHost` final attempts of each host. Throws
/// what SQLite throws.
inline constexpr std::uint64_t kLoadedItems = 500'000;
inline constexpr int kLoadedPerHost = 200;
Snapshot loadSnapshot(SQLite::Database& connection, WallTime now);

}  // namespace vms::runner
