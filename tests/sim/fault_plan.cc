#include "tests/sim/fault_plan.h"

#include <algorithm>
#include <utility>

namespace vms::sim {

const std::vector<std::string>& faultNames() {
  static const std::vector<std::string> names = {
      "engine_crash", "agent_crash",     "link_delay",     "link_cut",      "link_block",
      "link_slow",    "host_power",      "create_reject",  "create_lost",   "call_lost",
      "query_fail",   "hypervisor_hang", "daemon_restart", "guest_end",     "foreign",
      "store_stall",  "store_full",      "journal_stall",  "journal_full",  "clock_drift",
      "odd_paths",    "engine_stop",     "agent_stop",     "link_repeat",   "foreign_managed",
      "link_replay",  "end_unwatched",   "host_join",      "host_clone",    "hypervisor_swap",
      "journal_lost", "store_restore",   "migrate",        "guest_suspend", "host_scrap"};
  return names;
}

Rng FaultPlan::generatorOf(const std::string& name) const {
  std::uint64_t mixed = seed_;
  for (const char c : name) mixed = Rng(mixed + static_cast<unsigned char>(c)).next();
  return Rng(mixed);
}

FaultPlan::FaultPlan(SimCluster& cluster, Client& client, Rng rng, Duration window,
                     const std::optional<std::set<std::string>>& only)
    : cluster_(cluster), client_(client), seed_(rng.next()), window_(window) {
  for (const std::string& name : faultNames()) {
    // What turns identities and histories upside down is rare, so that the rest has its day.
    const bool odd = name == "host_clone" || name == "hypervisor_swap" || name == "journal_lost" ||
                     name == "store_restore" || name == "migrate" || name == "host_scrap";
    const bool strikes = generatorOf("whether " + name).chance(odd ? 0.1 : 0.4);
    const bool allowed = !only || only->count(name) > 0;
    // What was asked for by name strikes in any case.
    if (allowed && (strikes || only)) enabled_.insert(name);
  }
}

void FaultPlan::schedule() {
  for (const std::string& name : faultNames()) {
    const Rng rng = generatorOf(name);
    if (enabled_.count(name) == 0) continue;
    if (name == "engine_crash") planCrashes(rng);
    if (name == "agent_crash") planAgentCrashes(rng);
    if (name == "engine_stop" || name == "agent_stop") planStops(name, rng);
    if (name.rfind("link_", 0) == 0) planLinks(name, rng);
    if (name == "host_power") planPower(rng);
    if (name == "create_reject" || name == "create_lost" || name == "call_lost" ||
        name == "query_fail") {
      planHypervisor(name, rng);
    }
    if (name == "hypervisor_hang" || name == "daemon_restart") planDaemons(name, rng);
    if (name == "guest_end" || name.rfind("foreign", 0) == 0) planGuests(name, rng);
    if (name == "end_unwatched") planHypervisor(name, rng);
    if (name == "host_join") planJoins(rng);
    if (name == "host_scrap") planScraps(rng);
    if (name == "host_clone") planClones(rng);
    if (name == "hypervisor_swap") planSwaps(rng);
    if (name == "journal_lost") planLostJournals(rng);
    if (name == "store_restore") planRestore(rng);
    if (name == "migrate") planMigrations(rng);
    if (name == "guest_suspend") planSuspensions(rng);
    if (name == "store_stall" || name == "store_full" || name == "journal_stall" ||
        name == "journal_full") {
      planDisks(name, rng);
    }
    if (name == "clock_drift") planClocks(rng);
    if (name == "odd_paths") {
      Rng draw = rng;
      cluster_.faults().setProbability(0.1 * draw.real());
    }
  }
}

Node& FaultPlan::anyNode(Rng& rng) {
  auto& nodes = cluster_.nodes();
  return *nodes[static_cast<std::size_t>(rng.below(nodes.size()))];
}

void FaultPlan::count(const std::string& kind) { ++counts_[kind]; }

void FaultPlan::later(Duration delay, std::function<void()> effect) {
  cluster_.world().in(delay, [this, effect = std::move(effect)]() {
    if (!healed_) effect();
  });
}

void FaultPlan::strikes(const std::string& kind, Rng& rng, std::uint64_t most,
                        const std::function<void(Node&, Rng&)>& strike) {
  const std::uint64_t times = rng.between(1, most);
  for (std::uint64_t i = 0; i < times; ++i) {
    const Duration when = rng.between(Duration{}, window_);
    Node& node = anyNode(rng);
    const Rng own = rng.fork();
    later(when, [this, kind, &node, own, strike]() {
      Rng draw = own;
      count(kind);
      strike(node, draw);
    });
  }
}

void FaultPlan::planCrashes(Rng rng) {
  strikes("engine_crash", rng, 4, [this](Node&, Rng& draw) {
    const std::uint64_t step = cluster_.world().steps() + draw.below(400);
    const Duration down = draw.between(milliseconds(100), seconds(8));
    armed_.emplace_back(step, [this, down]() {
      cluster_.crashEngine();
      later(down, [this]() { cluster_.startEngine(); });
    });
  });
}

void FaultPlan::planAgentCrashes(Rng rng) {
  strikes("agent_crash", rng, 5, [this](Node& node, Rng& draw) {
    const std::uint64_t step = cluster_.world().steps() + draw.below(400);
    const Duration down = draw.between(milliseconds(100), seconds(8));
    armed_.emplace_back(step, [this, &node, down]() {
      cluster_.crashAgent(node);
      later(down, [this, &node]() { cluster_.startAgent(node); });
    });
  });
}

void FaultPlan::planStops(const std::string& kind, Rng rng) {
  strikes(kind, rng, 3, [this, kind](Node& node, Rng&) {
    if (kind == "engine_stop") {
      cluster_.stopEngine();
    } else {
      cluster_.stopAgent(node);
    }
  });
}

void FaultPlan::planLinks(const std::string& kind, Rng rng) {
  strikes(kind, rng, 6, [this, kind](Node& node, Rng& draw) {
    Network& network = cluster_.network();
    const HostId id = node.host.id();
    const Duration lasts = draw.between(seconds(1), seconds(25));
    if (kind == "link_cut") {
      cluster_.world().tell("link of " + id + " is cut");
      network.cut(id);
      return;
    }
    if (kind == "link_block") {
      const bool to_engine = draw.chance(0.6);
      const bool to_agent = !to_engine || draw.chance(0.5);
      cluster_.world().tell("link of " + id + " is blocked");
      network.setBlocked(id, Direction::ToEngine, to_engine);
      network.setBlocked(id, Direction::ToAgent, to_agent);
      later(lasts, [&network, id]() {
        network.setBlocked(id, Direction::ToEngine, false);
        network.setBlocked(id, Direction::ToAgent, false);
      });
      return;
    }
    LinkQuality quality;
    if (kind == "link_replay") {
      quality.replay = 0.3 * draw.real();
    } else if (kind == "link_repeat") {
      quality.duplicate = 0.3 * draw.real();
    } else if (kind == "link_delay") {
      quality.delay_min = draw.between(Duration{}, milliseconds(50));
      quality.delay_max = quality.delay_min + draw.between(Duration{}, milliseconds(400));
    } else {
      quality.bytes_per_second = draw.between(std::uint64_t{2'000}, std::uint64_t{60'000});
    }
    network.setQuality(id, quality);
    later(lasts, [&network, id]() { network.setQuality(id, LinkQuality{}); });
  });
}

void FaultPlan::planPower(Rng rng) {
  strikes("host_power", rng, 2, [this](Node& node, Rng& draw) {
    const Duration off = draw.between(seconds(2), seconds(50));
    cluster_.powerOff(node);
    later(off, [this, &node]() { cluster_.powerOn(node); });
  });
}

void FaultPlan::planHypervisor(const std::string& kind, Rng rng) {
  for (const auto& node : cluster_.nodes()) {
    const double probability = rng.real() * 0.3;
    if (rng.chance(0.3)) continue;
    HypervisorProfile& profile = node->host.profile();
    count(kind);
    if (kind == "create_reject") profile.reject_create = probability;
    if (kind == "create_lost") profile.lose_create = probability;
    if (kind == "call_lost") profile.lose_call = probability;
    if (kind == "query_fail") profile.fail_query = probability;
    if (kind == "end_unwatched") profile.forget_end = 3 * probability;
  }
}

void FaultPlan::planDaemons(const std::string& kind, Rng rng) {
  strikes(kind, rng, 4, [this, kind](Node& node, Rng& draw) {
    SimHost& host = node.host;
    if (kind == "hypervisor_hang") {
      cluster_.world().tell(host.id() + ": hypervisor hangs");
      host.setHung(true);
      later(draw.between(seconds(1), seconds(30)), [&host]() { host.setHung(false); });
      return;
    }
    const bool killed = draw.chance(0.5);
    cluster_.world().tell(host.id() + ": hypervisor daemon " + (killed ? "killed" : "ends"));
    host.stopDaemon(killed);
    later(draw.between(milliseconds(100), seconds(8)), [&host]() { host.startDaemon(); });
  });
}

void FaultPlan::planGuests(const std::string& kind, Rng rng) {
  if (kind == "guest_end") {
    for (const auto& node : cluster_.nodes()) {
      node->host.profile().die_after_start = rng.real() * 0.3;
      node->host.profile().ignore_shutdown = rng.real() * 0.3;
    }
    count(kind);
    return;
  }
  strikes(kind, rng, 3, [this, kind](Node& node, Rng& draw) {
    const std::uint64_t memory = draw.between(std::uint64_t{1}, std::uint64_t{4}) << 30U;
    const auto& managed = cluster_.store().contents().vms;
    const std::size_t place = static_cast<std::size_t>(draw.below(managed.size() + 1));
    const VmId unknown{makeUuidV7(kWorldStart, draw)};
    if (kind == "foreign") {
      node.host.startForeign(unknown, "foreign-" + unknown.str().substr(30), memory);
    } else if (place < managed.size()) {
      const auto vm = std::next(managed.begin(), static_cast<std::ptrdiff_t>(place));
      node.host.startForeign(vm->first, vm->second.spec.name, memory);
    }
  });
}

void FaultPlan::planDisks(const std::string& kind, Rng rng) {
  strikes(kind, rng, 4, [this, kind](Node& node, Rng& draw) {
    StoreDisk& store = cluster_.store();
    JournalDisk& journal = node.journal;
    const Duration lasts = draw.between(milliseconds(200), seconds(8));
    cluster_.world().tell(kind.rfind("store", 0) == 0 ? kind : kind + " on " + node.host.id());
    if (kind == "store_stall") {
      store.setStalled(true);
      later(lasts, [&store]() { store.setStalled(false); });
    } else if (kind == "store_full") {
      store.setRoom(draw.chance(0.5) ? StoreDisk::Room::ReserveOnly : StoreDisk::Room::None);
      later(lasts, [&store]() { store.setRoom(StoreDisk::Room::Plenty); });
    } else if (kind == "journal_stall") {
      journal.setStalled(true);
      later(lasts, [&journal]() { journal.setStalled(false); });
    } else {
      journal.setFull(true);
      later(lasts, [&journal]() { journal.setFull(false); });
    }
  });
}

void FaultPlan::planClocks(Rng rng) {
  // Up to 200 ppm, as bad crystals are; wall clocks may be minutes off.
  const auto setClock = [&rng, this](Process& process) {
    const std::int64_t ppb = static_cast<std::int64_t>(rng.below(400'001)) - 200'000;
    process.machine().drift_ppb = ppb;
    process.machine().wall_offset = rng.between(-seconds(120), Duration(seconds(120)));
    count("clock_drift");
  };
  setClock(cluster_.engineProcess());
  for (const auto& node : cluster_.nodes()) setClock(node->agent);
}

void FaultPlan::afterStep() {
  if (armed_.empty()) return;
  const std::uint64_t now = cluster_.world().steps();
  for (std::size_t i = 0; i < armed_.size(); ++i) {
    if (armed_[i].first > now) continue;
    const auto effect = std::move(armed_[i].second);
    armed_.erase(armed_.begin() + static_cast<std::ptrdiff_t>(i));
    effect();
    return;
  }
}

void FaultPlan::heal() {
  healed_ = true;
  armed_.clear();
  cluster_.world().tell("faults end");
  cluster_.faults().setProbability(0);
  cluster_.network().heal();
  cluster_.store().setStalled(false);
  cluster_.store().setRoom(StoreDisk::Room::Plenty);
  for (const auto& node : cluster_.nodes()) {
    node->journal.setStalled(false);
    node->journal.setFull(false);
    node->host.profile() = HypervisorProfile{};
    node->host.setHung(false);
    const std::map<VmId, SimDomain> domains = node->host.domains();
    for (const auto& [vm, domain] : domains) node->host.letGoOn(vm);
    if (node->isClone()) {
      cluster_.powerOff(*node);
      continue;
    }
    cluster_.powerOn(*node);
    node->host.startDaemon();
    cluster_.startAgent(*node);
  }
  cluster_.endImpostors();
  cluster_.startEngine();
}

}  // namespace vms::sim
