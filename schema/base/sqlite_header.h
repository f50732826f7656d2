#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "schema/base/error.h"

namespace vms {

/// What the first bytes of an SQLite file tell.
struct SqliteHeader {
  std::uint32_t application_id = 0;
  std::uint32_t schema_version = 0;  ///< May lag behind what the write-ahead log holds.
};

/// Reads them without SQLite, which might change the file or files beside it. Nothing: there is no
/// such file. Invalid: empty, or not an SQLite database. Close no descriptor of a file that SQLite
/// has open in this process: that would drop its locks; so only before it is opened.
Result<std::optional<SqliteHeader>> readSqliteHeader(const std::filesystem::path& path);

}  // namespace vms
