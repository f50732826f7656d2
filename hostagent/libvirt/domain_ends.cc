#include "hostagent/libvirt/domain_ends.h"

#include <algorithm>

namespace vms::hostagent {

void DomainEnds::remember(VmId vm, StopReason reason) {
  if (!ends_.insert_or_assign(vm, reason).second) return;
  order_.push_back(vm);
  while (order_.size() > max_) {
    ends_.erase(order_.front());
    order_.pop_front();
  }
}

void DomainEnds::forget(VmId vm) {
  if (ends_.erase(vm) != 0) order_.erase(std::find(order_.begin(), order_.end(), vm));
}

std::optional<StopReason> DomainEnds::find(VmId vm) const {
  const auto known = ends_.find(vm);
  if (known == ends_.end()) return std::nullopt;
  return known->second;
}

}  // namespace vms::hostagent
