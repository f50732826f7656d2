#pragma once

#include <map>
#include <mutex>
#include <utility>

#include "hostagent/hypervisor.h"

namespace vms::hostagent {

/// What never changes in the life of a domain: size and claim, by VM and libvirt's id of the
/// incarnation. Spares two questions per domain and list, which libvirtd answers only when a worker
/// is free of creates. As large as the last list. From any thread.
class KnownDomains {
 public:
  using Key = std::pair<VmId, unsigned>;

  /// Fills size and claim of `info`; false: not known.
  bool recall(const Key& key, DomainInfo& info) const;
  void remember(const Key& key, const DomainInfo& info);
  /// Takes over what another holds, in place of everything.
  void replaceBy(KnownDomains&& other);

 private:
  mutable std::mutex mutex_;
  std::map<Key, DomainInfo> domains_;
};

}  // namespace vms::hostagent
