#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <unordered_map>

#include "hostagent/hypervisor.h"

namespace vms::hostagent {

/// How domains ended lately, as events told; the oldest are forgotten beyond `max`. One thread.
class DomainEnds {
 public:
  explicit DomainEnds(std::size_t max = 4096) : max_(max) {}

  void remember(VmId vm, StopReason reason);
  /// A new life begins.
  void forget(VmId vm);
  std::optional<StopReason> find(VmId vm) const;

 private:
  std::size_t max_;
  std::unordered_map<VmId, StopReason> ends_;
  std::deque<VmId> order_;  ///< Oldest first.
};

}  // namespace vms::hostagent
