#include "tests/sim/fault_plan.h"

/// Faults that turn identities upside down, or history back.
namespace vms::sim {

void FaultPlan::planJoins(Rng rng) {
  for (const auto& node : cluster_.nodes()) {
    if (!rng.chance(0.4)) continue;
    node->joins_later = true;
    const Duration when = rng.between(Duration{}, window_);
    later(when, [this, node = node.get()]() {
      count("host_join");
      node->joins_later = false;
      cluster_.startAgent(*node);
    });
  }
}

void FaultPlan::planScraps(Rng rng) {
  strikes("host_scrap", rng, 2, [this](Node& node, Rng& draw) {
    if (node.isClone()) return;
    const HostId id = node.name();
    if (draw.chance(0.4)) {
      client_.forget(id, false);  // Whether it is off or not.
      return;
    }
    const Duration noticed = draw.between(Duration{}, seconds(20));
    const Duration back = noticed + draw.between(seconds(1), seconds(60));
    cluster_.powerOff(node);
    later(noticed, [this, id]() { client_.forget(id, true); });
    later(back, [this, &node]() { cluster_.powerOn(node); });
  });
}

void FaultPlan::planClones(Rng rng) {
  strikes("host_clone", rng, 2, [this](Node& node, Rng& draw) {
    const HostId id = node.host.id();
    const auto& hosts = cluster_.store().contents().hosts;
    const auto row = hosts.find(id);
    const bool enrolled = row != hosts.end() && row->second.forgotten_by.empty();
    if (!enrolled || cluster_.findNode(id + "-clone") != nullptr) return;
    const bool other_hardware = draw.chance(0.3);
    const bool cut_off = draw.chance(0.7);
    const Duration head_start = draw.between(Duration{}, seconds(8));
    const Duration lasts = draw.between(seconds(5), seconds(40));
    cluster_.world().tell(id + " is cloned");
    Node& clone = cluster_.addClone(node);
    if (other_hardware) clone.host.setHardwareUuid(clone.other.hardwareUuid());
    if (cut_off) {
      for (const Direction direction : {Direction::ToEngine, Direction::ToAgent}) {
        cluster_.network().setBlocked(id, direction, true);
        later(head_start + lasts,
              [this, id, direction]() { cluster_.network().setBlocked(id, direction, false); });
      }
    }
    later(head_start, [this, &clone, other_hardware]() {
      // Its hardware gives it away even where its boot could be the original's next one.
      if (other_hardware) clone.host.bootedJustNow();
      cluster_.startAgent(clone);
    });
    later(head_start + lasts, [this]() { operatorComes(); });
  });
}

void FaultPlan::planSwaps(Rng rng) {
  strikes("hypervisor_swap", rng, 2, [this](Node& node, Rng& draw) {
    // Before its first list a host has no hypervisor that another one could be mistaken for.
    const auto& hosts = cluster_.store().contents().hosts;
    const auto row = hosts.find(node.host.id());
    if (row == hosts.end() || row->second.hypervisor_host_uuid.empty()) return;
    const Duration lasts = draw.between(seconds(5), seconds(40));
    cluster_.world().tell(node.host.id() + ": agent is configured for another hypervisor");
    cluster_.crashAgent(node);
    node.uses_other = true;
    cluster_.startAgent(node);
    later(lasts, [this]() { operatorComes(); });
  });
}

void FaultPlan::planLostJournals(Rng rng) {
  strikes("journal_lost", rng, 2, [this](Node& node, Rng& draw) {
    const Duration down = draw.between(milliseconds(100), seconds(8));
    cluster_.loseJournal(node);
    later(down, [this, &node]() { cluster_.startAgent(node); });
  });
}

void FaultPlan::planRestore(Rng rng) {
  const Duration copied = rng.between(Duration{}, window_ / 2);
  const Duration restored = copied + rng.between(seconds(2), window_ / 2);
  const Duration down = rng.between(milliseconds(100), seconds(5));
  const Duration operator_after = rng.between(seconds(5), seconds(30));
  later(copied, [this, wait = restored - copied, down, operator_after]() {
    const auto copy = std::make_shared<StoreContents>(cluster_.store().contents());
    later(wait, [this, copy, down, operator_after]() { restore(*copy, down, operator_after); });
  });
}

void FaultPlan::restore(const StoreContents& copy, Duration down, Duration operator_after) {
  count("store_restore");
  cluster_.crashEngine();
  // Without a mark it shows by what the hosts have met, so each of them must have met more.
  bool marked = enabled_.count("journal_lost") > 0;
  for (const auto& node : cluster_.nodes()) {
    marked = marked || node->journal.marks().commit <= copy.marks.commit.value;
  }
  cluster_.world().tell(marked ? "store: an older copy is restored"
                               : "store: an older copy is restored and nobody says so");
  const StoreContents before = cluster_.store().contents();
  cluster_.store().restore(copy, marked);
  cluster_.checkers().storeRestored(before);
  client_.storeRestored();
  later(down, [this]() { cluster_.startEngine(); });
  later(down + operator_after, [this]() { operatorComes(); });
}

void FaultPlan::planMigrations(Rng rng) {
  strikes("migrate", rng, 4, [this](Node& node, Rng& draw) {
    Node& to = anyNode(draw);
    if (&to == &node || node.host.domains().empty()) return;
    const auto& domains = node.host.domains();
    const auto place = static_cast<std::ptrdiff_t>(draw.below(domains.size()));
    const auto chosen = std::next(domains.begin(), place);
    if (!chosen->second.executing() && !chosen->second.suspended) return;
    if (!chosen->second.info.claim) return;
    cluster_.world().tell("operator: moves " + chosen->second.info.name + " from " +
                          node.host.id() + " to " + to.host.id());
    const Duration incoming = draw.chance(0.5) ? draw.between(Duration{}, seconds(4)) : Duration{};
    node.host.migrate(chosen->first, to.host, incoming);
  });
}

void FaultPlan::planSuspensions(Rng rng) {
  strikes("guest_suspend", rng, 4, [this](Node& node, Rng& draw) {
    const auto& domains = node.host.domains();
    if (domains.empty()) return;
    const auto place = static_cast<std::ptrdiff_t>(draw.below(domains.size()));
    const auto chosen = std::next(domains.begin(), place);
    if (!chosen->second.executing() || !chosen->second.info.claim) return;
    const VmId vm = chosen->first;
    cluster_.world().tell("operator: suspends " + chosen->second.info.name + " on " +
                          node.host.id());
    node.host.suspend(vm);
    // It may have been moved meanwhile.
    later(draw.between(milliseconds(100), seconds(20)), [this, vm]() {
      for (const auto& each : cluster_.nodes()) each->host.letGoOn(vm);
    });
  });
}

void FaultPlan::operatorComes() {
  cluster_.endImpostors();
  client_.answerAlarms();
}

}  // namespace vms::sim
