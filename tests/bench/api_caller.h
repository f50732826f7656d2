#pragma once

#include <boost/json/value.hpp>
#include <cstddef>
#include <string>
#include <vector>

#include "schema/ids.h"
#include "tests/bench/https_connection.h"

namespace vms::bench {

/// One attempt as history tells it.
struct HistoryRow {
  AttemptId attempt;
  RequestId request;
  std::string outcome;
  std::int64_t requested_ms = 0;
  std::int64_t running_ms = 0;
};

// The calls that benchmarks make, over one connection. An answer other than a success is an error
// with the engine's own words.

Result<HttpsConnection> connectToApi(const std::string& address, const std::string& ca_file,
                                     const std::string& token);
/// Defines VMs `prefix`0 to `prefix``count - 1`, a few hundred per call.
Result<void> defineVms(HttpsConnection& api, const std::string& prefix, std::size_t count);
/// One request for these VMs.
Result<RequestId> startVms(HttpsConnection& api, const std::vector<std::string>& names);
/// Hosts that take work.
Result<std::size_t> countReadyHosts(HttpsConnection& api);
/// Everything there is, newest first.
Result<std::vector<HistoryRow>> readHistory(HttpsConnection& api);

}  // namespace vms::bench
