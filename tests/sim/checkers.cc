#include "tests/sim/checkers.h"

#include <utility>

namespace vms::sim {

Checkers::Checkers(World& world, StoreDisk& store) : world_(world), store_(store) {
  store_.beforeCommit(
      [this](const std::vector<runner::Change>& changes) { beforeCommit(changes); });
  store_.afterCommit([this](const std::vector<runner::Change>& changes) { afterCommit(changes); });
}

void Checkers::watch(SimHost& host, JournalDisk& journal) {
  hosts_[host.id()] = WatchedHost{&host, &journal};
  host.onChange([this](const SimHost& changed, DomainChange change, const SimDomain& domain) {
    domainChanged(changed, change, domain);
  });
}

void Checkers::watch(Network& network) {
  network.setTap([this](const WireEvent& event) {
    if (event.kind == WireEvent::Kind::Sent) frameSent(event);
  });
}

void Checkers::storeRestored(const StoreContents& before) {
  for (const auto& [id, row] : before.attempts) {
    if (attempt(id) == nullptr) forgotten_.insert(id);
  }
}

void Checkers::onBulkCreate(std::function<void(const HostId&)> observer) {
  bulk_create_observer_ = std::move(observer);
}

void Checkers::fail(const std::string& checker, const std::string& message) {
  if (violation_) return;
  violation_ = Violation{checker, message, world_.now()};
  world_.tell("VIOLATION " + checker + ": " + message);
  world_.stop();
}

void Checkers::requestAccepted(RequestId request, std::size_t vms) {
  const StoreContents& durable = store_.contents();
  const auto found = durable.requests.find(request);
  if (found == durable.requests.end()) {
    fail("revealed_before_durable", "request " + request.str() + " was answered and is not stored");
    return;
  }
  std::size_t items = 0;
  for (auto item = durable.items.lower_bound({request, 0});
       item != durable.items.end() && item->first.first == request; ++item) {
    ++items;
    if (durable.runs.count(item->second.run) == 0) {
      fail("revealed_before_durable", "a run of request " + request.str() + " is not stored");
    }
  }
  if (items != vms || found->second.total != vms) {
    fail("revealed_before_durable", "request " + request.str() + " for " + std::to_string(vms) +
                                        " VMs has " + std::to_string(items) + " stored items");
  }
}

const runner::AttemptRecord* Checkers::attempt(AttemptId id) const {
  const auto found = store_.contents().attempts.find(id);
  return found == store_.contents().attempts.end() ? nullptr : &found->second;
}

const WatchedHost* Checkers::findHost(const HostId& id) const {
  const auto found = hosts_.find(id);
  return found == hosts_.end() ? nullptr : &found->second;
}

std::string Checkers::describe(const AttemptRef& ref) const {
  const auto vm = store_.contents().vms.find(ref.vm);
  const std::string name = vm == store_.contents().vms.end() ? ref.vm.str() : vm->second.spec.name;
  return name + " epoch " + std::to_string(ref.epoch.value);
}

}  // namespace vms::sim
