#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string_view>
#include <vector>

#include "runner/api/router.h"
#include "runner/distribution.h"
#include "schema/base/time.h"

namespace vms::runner::api {

/// Requests of one row of the table of routes. Its pattern is empty for those that no row matches.
struct RouteFigures {
  std::string_view method, pattern;
  std::array<std::uint64_t, 5> by_class{};  ///< 1xx to 5xx.
  Distribution seconds{kSecondsBounds};     ///< Until the reply, or the begin of a stream.
};

struct HttpFigures {
  HttpTrafficFigures traffic;
  std::size_t in_flight = 0;
  std::vector<RouteFigures> routes;
};

/// Counts requests. From any thread.
class RequestCounters {
 public:
  RequestCounters();

  /// A request is under way from here until `finished`.
  void began();
  /// `route`: a row of `routes()`; null: none.
  void finished(const Route* route, int status, Duration took);
  /// The server refused what never reached a route.
  void refused(int status);

  /// Everything but `traffic`.
  HttpFigures figures() const;

 private:
  RouteFigures& rowOf(const Route* route);

  mutable std::mutex mutex_;
  std::size_t in_flight_ = 0;
  std::vector<RouteFigures> rows_;  ///< As `routes()`, then one for no route.
};

}  // namespace vms::runner::api
