#include "hostagent/libvirt/known_domains.h"

namespace vms::hostagent {

bool KnownDomains::recall(const Key& key, DomainInfo& info) const {
  const std::lock_guard lock(mutex_);
  const auto known = domains_.find(key);
  if (known == domains_.end()) return false;
  info.memory = known->second.memory;
  info.vcpus = known->second.vcpus;
  info.claim = known->second.claim;
  return true;
}

void KnownDomains::remember(const Key& key, const DomainInfo& info) {
  const std::lock_guard lock(mutex_);
  domains_.insert_or_assign(key, info);
}

void KnownDomains::replaceBy(KnownDomains&& other) {
  const std::scoped_lock lock(mutex_, other.mutex_);
  domains_ = std::move(other.domains_);
}

}  // namespace vms::hostagent
