#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "schema/base/error.h"

namespace vms::bench {

/// What it took to stream a history out of an engine.
struct ExportFigures {
  std::string format;
  std::uint64_t rows = 0;
  std::uint64_t bytes = 0;
  double seconds = 0;
  std::uint64_t engine_rss_before = 0;  ///< The engine's resident memory just before, in bytes.
  std::uint64_t engine_rss_most = 0;    ///< The most that it had meanwhile.
  std::uint64_t client_rss = 0;         ///< The most that `vmsctl` had.
};

/// Starts `vmsrunnerd` on the database `folder`/state/engine.db, which nobody else has open, and
/// exports the newest `rows` attempts with `vmsctl history`, once in each of `formats`, into files
/// of the folder, which are removed afterwards.
Result<std::vector<ExportFigures>> exportHistory(const std::filesystem::path& folder,
                                                 const std::vector<std::string>& formats,
                                                 std::uint64_t rows);

}  // namespace vms::bench
