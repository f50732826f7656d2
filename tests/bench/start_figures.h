#pragma once

#include <cstdint>
#include <vector>

#include "tests/bench/api_caller.h"
#include "tests/bench/start_load.h"
#include "tests/bench/subcommand.h"

namespace vms::bench {

/// Exact, by nearest rank; 0 of nothing. `share` in (0, 1].
double percentile(std::vector<double> values, double share);

/// Everything that was seen of one benchmark of starts.
struct StartRecords {
  std::vector<HistoryRow> history;
  std::vector<SeenBatch> alone;
  LoadResult load;
  EngineUnderTest::Counters before, after;  ///< Around the load.
};

/// The figures of the load and of the lone starts. Internal: history and wire contradict each
/// other, or a start did not succeed.
Result<Report> figuresOf(const StartRecords& records);

}  // namespace vms::bench
