#include "batcher/inventory.h"

#include <algorithm>
#include <utility>

namespace vms::batcher {
namespace {

template <class T>
void addSigned(T& total, T amount, int sign) {
  total = sign > 0 ? static_cast<T>(total + amount) : static_cast<T>(total - amount);
}

}  // namespace

void Inventory::setFacts(const HostId& host, HostFacts facts) {
  hosts_[host].facts = std::move(facts);
  uses_.try_emplace(host);
}

void Inventory::removeHost(const HostId& host) {
  hosts_.erase(host);
  uses_.erase(host);
}

void Inventory::apply(Host& host, const Use& use, int sign) {
  if (!use.reserved && !use.listed) return;
  addSigned(host.memory_used, use.demand.memory, sign);
  addSigned(host.vcpus_used, static_cast<std::uint64_t>(use.demand.vcpus), sign);
  if (!use.listed) addSigned(host.memory_reserved, use.demand.memory, sign);
  if (use.pending) addSigned(host.pending, 1u, sign);
  if (use.unanswered) addSigned(host.unanswered, 1u, sign);
}

void Inventory::addListed(Use& use, const ListedDomain& domain) {
  use.listed = true;
  use.demand.memory = std::max(use.demand.memory, domain.demand.memory);
  use.demand.vcpus = std::max(use.demand.vcpus, domain.demand.vcpus);
}

void Inventory::reserve(const HostId& host, AttemptId attempt, Demand demand) {
  Host& total = hosts_[host];
  Use& use = uses_[host].attempts[attempt];
  apply(total, use, -1);
  use.demand.memory = std::max(use.demand.memory, demand.memory);
  use.demand.vcpus = std::max(use.demand.vcpus, demand.vcpus);
  use.reserved = true;
  apply(total, use, +1);
}

void Inventory::release(const HostId& host, AttemptId attempt) {
  const auto uses = uses_.find(host);
  if (uses == uses_.end()) return;
  const auto found = uses->second.attempts.find(attempt);
  if (found == uses->second.attempts.end()) return;
  apply(hosts_[host], found->second, -1);
  uses->second.attempts.erase(found);
}

void Inventory::unlist(const HostId& host, AttemptId attempt) {
  const auto uses = uses_.find(host);
  if (uses == uses_.end()) return;
  const auto found = uses->second.attempts.find(attempt);
  if (found == uses->second.attempts.end()) return;
  Host& total = hosts_[host];
  apply(total, found->second, -1);
  found->second.listed = false;
  apply(total, found->second, +1);
  if (!found->second.reserved) uses->second.attempts.erase(found);
}

void Inventory::list(const HostId& host, const ListedDomain& domain) {
  Host& total = hosts_[host];
  Use& use = uses_[host].attempts[domain.attempt];
  apply(total, use, -1);
  addListed(use, domain);
  apply(total, use, +1);
}

void Inventory::setPending(const HostId& host, AttemptId attempt, bool pending, bool unanswered) {
  const auto uses = uses_.find(host);
  if (uses == uses_.end()) return;
  const auto found = uses->second.attempts.find(attempt);
  if (found == uses->second.attempts.end()) return;
  Host& total = hosts_[host];
  apply(total, found->second, -1);
  found->second.pending = pending;
  found->second.unanswered = unanswered;
  apply(total, found->second, +1);
}

void Inventory::setListed(const HostId& host, const std::vector<ListedDomain>& domains) {
  Uses& uses = uses_[host];
  for (auto at = uses.attempts.begin(); at != uses.attempts.end();) {
    at->second.listed = false;
    at = at->second.reserved ? std::next(at) : uses.attempts.erase(at);
  }
  uses.foreign.clear();
  for (const ListedDomain& domain : domains) {
    if (domain.foreign) {
      uses.foreign[domain.key] = domain.demand;
      continue;
    }
    addListed(uses.attempts[domain.attempt], domain);
  }
  recount(host);
}

void Inventory::recount(const HostId& host) {
  Host& total = hosts_[host];
  const Uses& uses = uses_[host];
  total.memory_used = total.memory_reserved = total.vcpus_used = 0;
  total.pending = total.unanswered = 0;
  for (const auto& [attempt, use] : uses.attempts) apply(total, use, +1);
  for (const auto& [key, demand] : uses.foreign) {
    total.memory_used += demand.memory;
    total.vcpus_used += demand.vcpus;
  }
}

const Inventory::Host* Inventory::find(const HostId& host) const {
  const auto found = hosts_.find(host);
  return found == hosts_.end() ? nullptr : &found->second;
}

}  // namespace vms::batcher
