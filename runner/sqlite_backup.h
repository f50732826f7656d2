#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "runner/store.h"
#include "schema/base/error.h"

namespace vms::runner {

/// What a copy of the store holds.
struct BackupContents {
  Marks marks;  ///< At the moment that the copy shows; `restored` is set in every copy.
  std::uint64_t vms = 0, hosts = 0, attempts = 0;
  std::uint64_t open_attempts = 0;
  std::uint64_t bytes = 0;
};

/// Copies the store `database` to the new file `target`, also while an engine runs on it. Blocking;
/// see copySqlite() for what may go wrong. `progress` (may be empty) hears of bytes now and then.
///
/// The copy is marked as restored: hosts go on after it was made, so an engine that opens it starts
/// nothing until an operator has confirmed the hosts, whatever else is forgotten (S8).
Result<BackupContents> backupStore(
    const std::filesystem::path& database, const std::filesystem::path& target,
    const std::function<void(std::uint64_t done, std::uint64_t total)>& progress);

}  // namespace vms::runner
