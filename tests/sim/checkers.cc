#include "tests/sim/checkers.h"

#include <utility>

namespace vms::sim {

Checkers::Checkers(World& world, StoreDisk& store) : world_(world), store_(store) {
  store_.beforeCommit(
      [this](const std::vector<runner::Change>& changes) { beforeCommit(changes); });
  store_.afterCommit([this](const std::vector<runner::Change>& changes) { afterCommit(changes); });
}

void Checkers::watch(SimHost& host, JournalDisk& journal, HostId name, const bool& elsewhere) {
  WatchedHost& watched = hosts_[host.id()];
  watched = WatchedHost{&host, &journal, std::move(name), &elsewhere};
  for (const auto& [id, claim] : journal.claims()) {
    claimed_[host.id()].insert(id);
    Epoch& floor = floors_[host.id()][claim.claim.ref.vm];
    floor = std::max(floor, journal.floorOf(claim.claim.ref.vm));
  }
  marks_[host.id()] = journal.marks();
  journal.onCommit([this, &watched](const std::vector<hostagent::JournalChange>& changes) {
    journaled(watched, changes);
  });
  host.onChange([this](const SimHost& changed, DomainChange change, const SimDomain& domain) {
    domainChanged(changed, change, domain);
  });
  host.onCreateCall([this, &watched](const AttemptRef& ref) { createCalled(watched, ref); });
  host.onResumeCall([this, &watched](const AttemptRef& ref) { resumeCalled(watched, ref); });
}

void Checkers::watch(Network& network) {
  network.setTap([this](const WireEvent& event) {
    if (event.kind == WireEvent::Kind::Sent) frameSent(event);
    if (event.kind == WireEvent::Kind::Delivered) frameDelivered(event);
  });
}

void Checkers::journalLost(const HostId& host) {
  floors_.erase(host);
  claimed_.erase(host);
  marks_.erase(host);
}

void Checkers::stopOrdered(const std::vector<std::string>& vms) {
  stop_ordered_.insert(vms.begin(), vms.end());
}

void Checkers::storeRestored(const StoreContents& before) {
  not_before_.clear();
  // The copy knows nothing of it, and who has met more may have lost its journal since.
  met_term_ = met_commit_ = 0;
  met_starts_.clear();
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

void Checkers::errorSeen(ErrorClass error_class) {
  edges_.insert("class " + std::string(nameOf(error_class)));
}

std::vector<std::string> allEdges() {
  std::vector<std::string> all;
  const auto add = [&](const char* what, auto from, auto to) {
    if (mayFollow(from, to)) {
      all.push_back(std::string(what) + " " + std::string(nameOf(from)) + " > " +
                    std::string(nameOf(to)));
    }
  };
  for (int from = 0; from <= static_cast<int>(RunState::Cancelled); ++from) {
    for (int to = 0; to <= static_cast<int>(RunState::Cancelled); ++to) {
      add("run", static_cast<RunState>(from), static_cast<RunState>(to));
    }
  }
  for (int from = 0; from <= static_cast<int>(AttemptState::Ended); ++from) {
    for (int to = 0; to <= static_cast<int>(AttemptState::Ended); ++to) {
      add("attempt", static_cast<AttemptState>(from), static_cast<AttemptState>(to));
    }
  }
  for (int each = 0; each <= static_cast<int>(ErrorClass::Internal); ++each) {
    all.push_back("class " + std::string(nameOf(static_cast<ErrorClass>(each))));
  }
  return all;
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
