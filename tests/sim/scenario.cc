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
      vms.push_back(VmDraft{nameOfVm(i), script_.vm_memory, 1});
    }
    cluster_.startEngine();
    for (const auto& node : cluster_.nodes()) cluster_.startAgent(*node);
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
                       : words[0] == "store"                           ? store(words)
                       : words[0] == "curse"                           ? curse(words)
                       : words[0] == "confirm"                         ? confirm()
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
    client_.stop(Words(words.begin() + 1, words.end()), force);
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
    return words[1] == "crash" || words[1] == "start";
  }

  bool agent(const Words& words) {
    Node* const node = words.size() == 3 ? cluster_.findNode(words[1]) : nullptr;
    if (node == nullptr) return false;
    if (words[2] == "crash") cluster_.crashAgent(*node);
    if (words[2] == "start") cluster_.startAgent(*node);
    return words[2] == "crash" || words[2] == "start";
  }

  bool host(const Words& words) {
    Node* const node = words.size() == 3 ? cluster_.findNode(words[1]) : nullptr;
    if (node == nullptr) return false;
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
    for (const Direction direction : {Direction::ToEngine, Direction::ToAgent}) {
      network.setBlocked(words[1], direction, words[2] == "block");
    }
    return words[2] == "block" || words[2] == "open";
  }

  bool clone(const Words& words) {
    Node* const node = words.size() == 2 ? cluster_.findNode(words[1]) : nullptr;
    if (node == nullptr) return false;
    cluster_.world().tell(words[1] + " is cloned");
    cluster_.startAgent(cluster_.addClone(*node));
    return true;
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
    if (words.size() != 2) return false;
    for (const auto& node : cluster_.nodes()) node->host.curse(words[1]);
    return true;
  }

  bool confirm() {
    client_.answerAlarms();
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

int runScenario(const std::string& folder, bool accept, bool details) {
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
  const std::string expected_path = folder + "/expected.log";
  if (accept) {
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
