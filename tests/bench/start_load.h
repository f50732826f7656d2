#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "schema/ids.h"
#include "tests/bench/engine_under_test.h"
#include "tests/bench/wire_tap.h"

namespace vms::bench {

/// Where the load goes and what watches it.
struct LoadTarget {
  EngineUnderTest& engine;
  WireTap& tap;
  Duration limit;  ///< For each step.
};

/// What one load was.
struct LoadResult {
  std::int64_t begun_us = 0;          ///< Just before the first request was written.
  std::int64_t last_accepted_us = 0;  ///< When the last request had its answer.
  std::int64_t last_durable_us = 0;   ///< When an agent had the last acknowledgement of a start.
  RequestId bulk;
  std::vector<SeenBatch> batches;
  std::uint64_t wire_bytes = 0;
  std::uint64_t wire_frames = 0;
};

/// Starts the VMs one at a time, each once the one before is durable: an idle engine.
Result<std::vector<SeenBatch>> startAlone(const LoadTarget& target,
                                          const std::vector<std::string>& names);

/// Starts `singles` by one request each on `connections` keep-alive connections, which always wait
/// for their answer, and meanwhile `bulk` by one request. Returns once all of them are durable.
Result<LoadResult> startUnderLoad(const LoadTarget& target, const std::vector<std::string>& singles,
                                  const std::vector<std::string>& bulk, std::size_t connections);

}  // namespace vms::bench
