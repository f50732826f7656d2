#include "batcher/placement.h"

#include <algorithm>
#include <cmath>

#include "schema/base/memory_size.h"

namespace vms::batcher {
namespace {

bool contains(const std::vector<HostId>& list, const HostId& host) {
  return std::find(list.begin(), list.end(), host) != list.end();
}

std::uint64_t vcpuLimit(const HostFacts& facts, const PlacementLimits& limits) {
  return static_cast<std::uint64_t>(std::floor(facts.cpus * limits.vcpu_ratio));
}

/// Lower is better. Waiting for a lane counts most, then fullness, then blame.
double costOf(const Inventory::Host& host, const Demand& demand, double penalty) {
  const double width = std::max(1u, host.facts.lane_width);
  const double waiting = (host.pending + 1.0) / width;
  const double fullness = static_cast<double>(host.memory_used + demand.memory) /
                          std::max(1.0, static_cast<double>(host.facts.memory));
  return waiting + fullness + penalty;
}

std::string missing(const HostId& id, const Inventory::Host& host, const Demand& demand,
                    const PlacementLimits& limits) {
  if (host.memoryFree() < demand.memory) {
    return "host " + id + " has " + roundMemorySize(host.memoryFree()) + " of memory free of " +
           roundMemorySize(demand.memory) + " needed";
  }
  const std::uint64_t limit = vcpuLimit(host.facts, limits);
  return "host " + id + " has " + std::to_string(limit - std::min(limit, host.vcpus_used)) +
         " vCPUs free of " + std::to_string(demand.vcpus) + " needed";
}

}  // namespace

Placement place(const PlacementQuery& query, const Inventory& inventory,
                const PenaltyBook& penalties, TimePoint now, const PlacementLimits& limits) {
  /// A host that stands for others; its words are made only when they are needed.
  using Named = const std::pair<const HostId, Inventory::Host>*;
  struct Best {
    Named host = nullptr;
    double cost = 0;
    bool disliked = false;
  };
  std::optional<Best> best;
  bool fits_but_busy = false;
  bool possible = false;
  bool known = false;
  Named largest = nullptr, unready = nullptr, roomiest = nullptr;

  const auto consider = [&](Named entry) {
    const auto& [id, host] = *entry;
    if (contains(query.avoid, id)) return;
    known = true;
    if (largest == nullptr || host.facts.memory >= largest->second.facts.memory) largest = entry;
    if (host.facts.memory < query.demand.memory ||
        vcpuLimit(host.facts, limits) < query.demand.vcpus) {
      return;
    }
    possible = true;
    if (!host.facts.schedulable) {
      if (unready == nullptr) unready = entry;
      return;
    }
    const bool fits = host.memoryFree() >= query.demand.memory &&
                      host.vcpus_used + query.demand.vcpus <= vcpuLimit(host.facts, limits);
    if (!fits) {
      if (roomiest == nullptr || host.memoryFree() > roomiest->second.memoryFree()) {
        roomiest = entry;
      }
      return;
    }
    if (host.unanswered >= host.facts.credits) {
      fits_but_busy = true;
      return;
    }
    const bool disliked = contains(query.rather_not, id);
    const double cost = costOf(host, query.demand, penalties.of(id, now));
    if (!best || (best->disliked && !disliked) ||
        (best->disliked == disliked && cost < best->cost)) {
      best = Best{entry, cost, disliked};
    }
  };

  if (query.only) {
    const auto only = inventory.hosts().find(*query.only);
    if (only != inventory.hosts().end()) consider(&*only);
  } else {
    for (const auto& entry : inventory.hosts()) consider(&entry);
  }

  Placement result;
  if (best) {
    result.kind = Placement::Kind::Fits;
    result.host = best->host->first;
  } else if (fits_but_busy) {
    result.kind = Placement::Kind::Full;
    result.why = "every host that fits has a full intake";
  } else if (known && !possible) {
    result.kind = Placement::Kind::Impossible;
    const HostFacts& facts = largest->second.facts;
    result.why = "the largest allowed host, " + largest->first + ", has " +
                 roundMemorySize(facts.memory) + " of memory and carries " +
                 std::to_string(vcpuLimit(facts, limits)) + " vCPUs; it needs " +
                 roundMemorySize(query.demand.memory) + " and " +
                 std::to_string(query.demand.vcpus) + " vCPUs";
  } else if (roomiest != nullptr) {
    result.why = missing(roomiest->first, roomiest->second, query.demand, limits);
  } else if (unready != nullptr) {
    result.why = "host " + unready->first + " is " + unready->second.facts.why_not;
  } else if (query.only) {
    result.why = "host " + *query.only + " is not known, or is to be avoided";
  } else {
    result.why = "no host is known";
  }
  return result;
}

}  // namespace vms::batcher
