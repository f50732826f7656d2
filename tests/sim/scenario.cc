#include "tests/sim/scenario.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <utility>

#include "tests/sim/client.h"
#include "tests/sim/scenario_script.h"
#include "tests/sim/sim_cluster.h"

namespace vms::sim {

namespace {

std::string nameOfVm(std::size_t index) {
  char name[24];
  std::snprintf(name, sizeof name, "vm-%03zu", index + 1);
  return name;
}

/// A cluster that follows a script and writes down its story.
class Stage {
 public:
  Stage(const Script& script, bool details)
      : script_(script),
        cluster_(script.seed,
                 std::vector<HostSize>(script.hosts, HostSize{64, script.host_memory})),
        client_(cluster_, cluster_.world().rng().fork()) {
    cluster_.world().trace().setSink(
        [this, details](Trace::Level level, TimePoint now, std::string_view text) {
          if (level == Trace::Level::Detail && !details) return;
          char when[24];
          std::snprintf(when, sizeof when, "%9s", formatVirtual(now).c_str());
          log_ += std::string(when) + "  " + std::string(text) + "\n";
        });
    if (script_.max_open_runs) {
      cluster_.engineOptions().max_open_runs = *script_.max_open_runs;
    }
    for (const Script::Step& step : script_.steps) {
      if (step.after_bulk_create) waiting_.push_back(step);
    }
  }

  /// Empty: it went as the script says; else why the script is wrong.
  std::string play() {
    for (const Script::Step& step : script_.steps) {
      if (step.after_bulk_create) continue;
      cluster_.world().at(TimePoint{step.at}, [this, step]() { act(step); });
    }
    cluster_.checkers().onBulkCreate([this](const HostId& host) {
      for (auto step = waiting_.begin(); step != waiting_.end(); ++step) {
        if (*step->after_bulk_create != host) continue;
        const Script::Step due = *step;
        waiting_.erase(step);
        cluster_.world().in(Duration{}, [this, due]() { act(due); });
        return;
      }
    });
    std::vector<VmDraft> vms;
    for (std::size_t i = 0; i < script_.vms; ++i) {
      vms.push_back(VmDraft{nameOfVm(i), script_.vm_memory, 1, {}});
    }
    cluster_.startEngine();
    for (const auto& node : cluster_.nodes()) {
      if (script_.late.count(node->host.id()) == 0) cluster_.startAgent(*node);
    }
    cluster_.world().in(milliseconds(100), [this, vms]() { client_.define(vms); });
    cluster_.world().runUntil([this]() { return !wrong_.empty(); }, TimePoint{script_.end});
    if (wrong_.empty() && !cluster_.checkers().violation()) {
      for (const std::string& open : cluster_.checkers().unsettled()) {
        cluster_.checkers().fail("settles", open);
      }
    }
    return wrong_;
  }

  const std::string& log() const { return log_; }
  const std::optional<Violation>& violation() { return cluster_.checkers().violation(); }
  const std::set<std::string>& edges() { return cluster_.checkers().edges(); }

 private:
  using Words = std::vector<std::string>;

  void act(const Script::Step& step) {
    const Words& words = step.words;
    const bool known = words[0] == "run"                               ? run(words)
                       : words[0] == "cancel"                          ? cancel(words)
                       : words[0] == "stop"                            ? stop(words)
                       : words[0] == "drain" || words[0] == "activate" ? drain(words)
                       : words[0] == "engine"                          ? engine(words)
                       : words[0] == "agent"                           ? agent(words)
                       : words[0] == "host"                            ? host(words)
                       : words[0] == "link"                            ? link(words)
                       : words[0] == "journal"                         ? journal(words)
                       : words[0] == "define"                          ? define(words)
                       : words[0] == "undefine"                        ? undefine(words)
                       : words[0] == "store"                           ? store(words)
                       : words[0] == "curse" || words[0] == "bless"    ? curse(words)
                       : words[0] == "confirm"                         ? confirm()
                       : words[0] == "forget"                          ? forget(words)
                       : words[0] == "clone"                           ? clone(words)
                                                                       : false;
    if (!known)
      wrong_ = "script line " + std::to_string(step.line) + ": cannot do '" + words[0] + "'";
  }

  bool run(const Words& words) {
    StartOrder order;
    for (std::size_t i = 1; i < words.size(); ++i) {
      const std::string& word = words[i];
      if (word == "all") {
        order.all = true;
      } else if (word == "paused") {
        order.paused = true;
      } else if (word.rfind("key=", 0) == 0) {
        order.key = word.substr(4);
      } else if (word.rfind("host=", 0) == 0) {
        order.host = word.substr(5);
      } else if (word.rfind("deadline=", 0) == 0) {
        order.deadline = parseScriptTime(word.substr(9));
        if (!order.deadline) return false;
      } else {
        order.vms.push_back(word);
      }
    }
    client_.start(order);
    return true;
  }

  bool cancel(const Words& words) {
    if (words.size() != 2) return false;
    client_.cancel(words[1]);
    return true;
  }

  bool stop(Words words) {
    const bool force = words.back() == "force";
    if (force) words.pop_back();
    if (words.size() < 2) return false;
    Words names(words.begin() + 1, words.end());
    if (words[1] == "all") {
      names.clear();
      for (std::size_t i = 0; i < script_.vms; ++i) names.push_back(nameOfVm(i));
    }
    client_.stop(names, force);
    return true;
  }

  bool drain(const Words& words) {
    if (words.size() != 2) return false;
    client_.drain(words[1], words[0] == "drain");
    return true;
  }

  bool engine(const Words& words) {
    if (words.size() != 2) return false;
    if (words[1] == "crash") cluster_.crashEngine();
    if (words[1] == "start") cluster_.startEngine();
    if (words[1] == "stop") cluster_.stopEngine();
    return words[1] == "crash" || words[1] == "start" || words[1] == "stop";
  }

  bool agent(const Words& words) {
    Node* const node = words.size() == 3 ? cluster_.findNode(words[1]) : nullptr;
    if (node == nullptr) return false;
    const std::string& what = words[2];
    if (what == "crash") {
      cluster_.crashAgent(*node);
    } else if (what == "start") {
      cluster_.startAgent(*node);
    } else if (what == "stop") {
      cluster_.stopAgent(*node);
    } else if (what == "lose-journal") {
      cluster_.loseJournal(*node);
    } else if (what == "swap") {
      cluster_.crashAgent(*node);
      cluster_.world().tell(words[1] + ": agent is configured for another hypervisor");
      node->uses_other = true;
      cluster_.startAgent(*node);
    } else {
      return false;
    }
    return true;
  }

  bool define(const Words& words) {
    if (words.size() < 2) return false;
    VmDraft vm{words[1], script_.vm_memory, 1, {}};
    for (std::size_t i = 2; i < words.size(); ++i) {
      const std::size_t equals = words[i].find('=');
      if (equals == std::string::npos) return false;
      const std::string value = words[i].substr(equals + 1);
      const auto gate = parseScriptTime(value);
      const auto memory = parseScriptMemory(value);
      if (words[i].rfind("gate=", 0) == 0 && gate) {
        vm.gate = *gate;
      } else if (words[i].rfind("memory=", 0) == 0 && memory) {
        vm.memory = *memory;
      } else {
        return false;
      }
    }
    client_.define({vm});
    return true;
  }

  bool undefine(const Words& words) {
    if (words.size() != 2) return false;
    client_.undefine(words[1]);
    return true;
  }

  bool journal(const Words& words) {
    Node* const node = words.size() == 3 ? cluster_.findNode(words[1]) : nullptr;
    if (node == nullptr) return false;
    cluster_.world().tell("journal of " + words[1] + ": " + words[2]);
    node->journal.setFull(words[2] == "full");
    node->journal.setStalled(words[2] == "stall");
    return words[2] == "full" || words[2] == "stall" || words[2] == "ok";
  }

  std::optional<VmId> vmNamed(const std::string& name) {
    for (const auto& [id, row] : cluster_.store().contents().vms) {
      if (row.spec.name == name) return id;
    }
    return std::nullopt;
  }

  /// What happens to one domain of a host.
  bool guest(Node& node, const Words& words) {
    const auto vm = words.size() > 3 ? vmNamed(words[3]) : std::nullopt;
    if (!vm) return false;
    if (words[2] == "foreign") {
      node.host.startForeign(*vm, words[3], script_.vm_memory);
    } else if (words[2] == "guest-crash") {
      node.host.endGuest(*vm, hostagent::StopReason::Crashed);
    } else if (words[2] == "guest-off") {
      node.host.endGuest(*vm, hostagent::StopReason::Shutdown);
    } else if (words[2] == "suspend" || words[2] == "let-go-on") {
      cluster_.world().tell("operator: " + words[2] + " " + words[3] + " on " + words[1]);
      words[2] == "suspend" ? node.host.suspend(*vm) : node.host.letGoOn(*vm);
    } else {
      Node* const to = words.size() >= 5 ? cluster_.findNode(words[4]) : nullptr;
      std::optional<Duration> incoming = Duration{};
      if (words.size() == 6) incoming = parseScriptTime(words[5]);
      if (to == nullptr || !incoming || words[2] != "migrate") return false;
      cluster_.world().tell("operator: moves " + words[3] + " from " + words[1] + " to " +
                            words[4]);
      node.host.migrate(*vm, to->host, *incoming);
    }
    return true;
  }

  bool host(const Words& words) {
    Node* const node = words.size() >= 3 ? cluster_.findNode(words[1]) : nullptr;
    if (node == nullptr) return false;
    if (words.size() > 3) return guest(*node, words);
    const std::string& what = words[2];
    if (what == "power-off") {
      cluster_.powerOff(*node);
      return true;
    }
    if (what == "power-on") {
      cluster_.powerOn(*node);
      return true;
    }
    cluster_.world().tell(node->host.id() + ": hypervisor " + what);
    if (what == "hang" || what == "go-on") {
      node->host.setHung(what == "hang");
      return true;
    }
    HypervisorProfile& profile = node->host.profile();
    const bool trouble = what == "lose-creates" || what == "lose-calls" || what == "lose-queries" ||
                         what == "forget-ends";
    if (what == "behave") profile = HypervisorProfile{};
    if (what == "lose-creates") profile.lose_create = 1;
    if (what == "lose-calls") profile.lose_call = 1;
    if (what == "lose-queries") profile.fail_query = 1;
    if (what == "forget-ends") profile.forget_end = 1;
    if (trouble || what == "behave") return true;
    if (what == "daemon-start") node->host.startDaemon();
    if (what == "daemon-kill") node->host.stopDaemon(true);
    if (what == "daemon-stop") node->host.stopDaemon(false);
    return what.rfind("daemon-", 0) == 0;
  }

  bool link(const Words& words) {
    if (words.size() != 3 || cluster_.findNode(words[1]) == nullptr) return false;
    Network& network = cluster_.network();
    cluster_.world().tell("link of " + words[1] + ": " + words[2]);
    if (words[2] == "cut") {
      network.cut(words[1]);
      return true;
    }
    LinkQuality quality;
    if (words[2] == "replay") quality.replay = 0.5;
    if (words[2] == "repeat") quality.duplicate = 0.5;
    if (words[2] == "slow") quality.bytes_per_second = 2'000;
    const bool bad = words[2] == "replay" || words[2] == "repeat" || words[2] == "slow";
    if (bad || words[2] == "open") network.setQuality(words[1], quality);
    if (bad) return true;
    const bool blocked = words[2].rfind("block", 0) == 0;
    network.setBlocked(words[1], Direction::ToEngine,
                       words[2] == "block" || words[2] == "block-to-engine");
    network.setBlocked(words[1], Direction::ToAgent,
                       words[2] == "block" || words[2] == "block-to-agent");
    return blocked || words[2] == "open";
  }

  bool clone(const Words& words) {
    Node* const node = words.size() >= 2 ? cluster_.findNode(words[1]) : nullptr;
    if (node == nullptr) return false;
    cluster_.world().tell(words[1] + " is cloned");
    Node& clone = cluster_.addClone(*node);
    if (words.size() == 3) clone.host.setHardwareUuid(clone.other.hardwareUuid());
    cluster_.startAgent(clone);
    return words.size() == 2 || words[2] == "other-hardware";
  }

  bool store(const Words& words) {
    if (words.size() != 2) return false;
    StoreDisk& disk = cluster_.store();
    cluster_.world().tell("store: " + words[1]);
    if (words[1] == "save") saved_ = disk.contents();
    if (words[1] == "restore" || words[1] == "restore-marked") {
      if (cluster_.engineRuns() || !saved_) return false;
      const StoreContents before = disk.contents();
      disk.restore(*saved_, words[1] == "restore-marked");
      cluster_.checkers().storeRestored(before);
      client_.storeRestored();
    }
    if (words[1] == "ok") {
      disk.setRoom(StoreDisk::Room::Plenty);
      disk.setStalled(false);
    }
    if (words[1] == "stall") disk.setStalled(true);
    if (words[1] == "full") disk.setRoom(StoreDisk::Room::None);
    if (words[1] == "reserve") disk.setRoom(StoreDisk::Room::ReserveOnly);
    return true;
  }

  bool curse(const Words& words) {
    if (words.size() < 2) return false;
    const bool dependency = words.size() == 3 && words[2] == "dependency";
    for (const auto& node : cluster_.nodes()) {
      if (words[0] == "bless") {
        node->host.bless(words[1]);
      } else {
        node->host.curse(words[1], dependency ? ErrorClass::Dependency : ErrorClass::HostRejected);
      }
    }
    return words.size() == 2 || dependency;
  }

  bool confirm() {
    cluster_.endImpostors();
    client_.answerAlarms();
    return true;
  }

  bool forget(const Words& words) {
    const bool fenced = words.size() == 3 && words[2] == "fenced";
    if (words.size() != 2 && !fenced) return false;
    client_.forget(words[1], fenced);
    return true;
  }

  const Script script_;
  std::string log_;
  std::string wrong_;
  std::vector<Script::Step> waiting_;
  std::optional<StoreContents> saved_;
  SimCluster cluster_;
  Client client_;
};

std::optional<std::string> readFile(const std::string& path) {
  std::ifstream in(path);
  if (!in) return std::nullopt;
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void printFirstDifference(const std::string& expected, const std::string& actual) {
  std::istringstream a(expected), b(actual);
  for (int line = 1;; ++line) {
    std::string left, right;
    const bool has_left = static_cast<bool>(std::getline(a, left));
    const bool has_right = static_cast<bool>(std::getline(b, right));
    if (!has_left && !has_right) return;
    if (has_left == has_right && left == right) continue;
    std::printf("line %d\n  expected: %s\n  got:      %s\n", line,
                has_left ? left.c_str() : "(end)", has_right ? right.c_str() : "(end)");
    return;
  }
}

}  // namespace

int runScenario(const std::string& folder, ScenarioMode mode) {
  const bool details = mode == ScenarioMode::Details;
  const auto text = readFile(folder + "/script");
  if (!text) {
    std::fprintf(stderr, "vms-sim: %s/script cannot be read\n", folder.c_str());
    return 2;
  }
  const auto script = parseScript(*text);
  if (!script) {
    std::fprintf(stderr, "vms-sim: %s: %s\n", folder.c_str(), script.error().message.c_str());
    return 2;
  }
  Stage stage(*script, details);
  const std::string wrong = stage.play();
  if (!wrong.empty()) {
    std::fprintf(stderr, "vms-sim: %s: %s\n", folder.c_str(), wrong.c_str());
    return 2;
  }
  if (stage.violation() || details) std::printf("%s", stage.log().c_str());
  if (stage.violation()) return 1;
  if (mode == ScenarioMode::Edges) {
    for (const std::string& edge : stage.edges()) std::printf("%s\n", edge.c_str());
    return 0;
  }
  const std::string expected_path = folder + "/expected.log";
  if (mode == ScenarioMode::Accept) {
    std::ofstream(expected_path) << stage.log();
    return 0;
  }
  const auto expected = readFile(expected_path);
  if (expected && *expected == stage.log()) return 0;
  std::printf("%s", stage.log().c_str());
  printFirstDifference(expected.value_or(""), stage.log());
  std::printf("if this is the better story: vms-sim --scenario %s --accept\n", folder.c_str());
  return 1;
}

}  // namespace vms::sim
