#pragma once

#include <optional>
#include <string>
#include <vector>

#include "batcher/host_penalty.h"
#include "batcher/inventory.h"
#include "schema/ids.h"

namespace vms::batcher {

struct PlacementQuery {
  Demand demand;
  std::optional<HostId> only;      ///< The one host that the requester allows.
  std::vector<HostId> avoid;       ///< Never these.
  std::vector<HostId> rather_not;  ///< Hosts where it failed: only if no other fits.
};

struct PlacementLimits {
  double vcpu_ratio = 16.0;
};

/// Where a VM goes, or why nowhere.
struct Placement {
  enum class Kind {
    Fits,        ///< `host`.
    Full,        ///< A host fits, but its intake has no place now: keep queueing.
    NoCapacity,  ///< No allowed host has room now; `why` says what was missing on the best one.
    Impossible,  ///< No known host could ever hold it, even empty.
  };
  Kind kind = Kind::NoCapacity;
  HostId host;
  std::string why;
};

/// Chooses a host by capacity and load. Pure; ties go to the lower host id.
///
/// Memory is never over-committed; vCPUs are, up to the ratio. Of the hosts that fit, the one where
/// the VM waits least for a lane wins, then the one with more room; blamed hosts come last.
Placement place(const PlacementQuery& query, const Inventory& inventory,
                const PenaltyBook& penalties, TimePoint now, const PlacementLimits& limits);

}  // namespace vms::batcher
