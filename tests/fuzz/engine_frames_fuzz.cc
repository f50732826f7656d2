#include <map>
#include <set>
#include <string>
#include <vector>

#include "runner/engine.h"
#include "runner/intake.h"
#include "runner/reconciler.h"
#include "runner/session_book.h"
#include "runner/state_memory.h"
#include "runner/vm_registry.h"
#include "schema/base/log.h"
#include "schema/frames.h"
#include "tests/fuzz/frame_script.h"
#include "tests/fuzz/target.h"

using namespace vms;          // NOLINT: a program of its own.
using namespace vms::runner;  // NOLINT

namespace {

constexpr std::size_t kSteps = 60;

/// An engine with four VMs, and whoever the script lets speak to it.
class Conversation {
 public:
  Conversation() {
    Snapshot snapshot;
    snapshot.marks.store_id.uuid.bytes.fill(5);
    snapshot.marks.term = {2};
    snapshot.marks.commit = {100};
    for (std::uint8_t i = 1; i <= 4; ++i) {
      VmRecord vm;
      vm.spec.id.uuid.bytes.fill(i);
      vm.spec.name = "vm-" + std::to_string(i);
      vm.spec.domain_type = "qemu";
      vm.spec.memory = std::uint64_t{1} << 30U;
      vm.spec.vcpus = 1;
      vm.xml = "<domain/>";
      snapshot.vms.push_back(std::move(vm));
    }
    engine_.restore(std::move(snapshot), now_);
  }

  void take(fuzz::Step step) {
    fuzz::nameAttempts(step.frame, [this](std::size_t number) {
      return number < known_.size() ? &known_[number] : nullptr;
    });
    const std::string& what = step.words.front();
    EngineState& state = engine_.state();
    if (what == "hello") {
      hello(step);
    } else if (what == "close") {
      close(step.words.size() > 1 ? step.words[1] : "");
    } else if (what == "wait") {
      const Duration passed =
          milliseconds(static_cast<std::int64_t>(fuzz::numberAt(step.words, 1, 1000, 10'000'000)));
      now_.mono = now_.mono + passed;
      now_.wall = now_.wall + passed;
    } else if (what == "run") {
      StartRequest request;
      request.selection.vms = names(step.words);
      if (const auto made = createRequest(state, who_, request, now_)) requests_.push_back(*made);
    } else if (what == "stop") {
      StopVms stop;
      stop.selection.vms = names(step.words);
      stop.force = true;
      static_cast<void>(stopVms(state, who_, stop, now_));
    } else if (what == "cancel" && !requests_.empty()) {
      static_cast<void>(cancelRequest(state, requests_.back(), now_));
    } else if (what == "confirm" || what == "drain" || what == "activate") {
      const std::string host = step.words.size() > 1 ? step.words[1] : "h1";
      static_cast<void>(what == "confirm" ? engine_.confirmHost(host, now_)
                                          : engine_.setDraining(host, what == "drain", now_));
    } else if (const auto session = sessions_.find(what); session != sessions_.end()) {
      if (!onFrame(state, session->second, step.frame, now_)) close(what);
    }
    turn();
  }

 private:
  static std::vector<std::string> names(const std::vector<std::string>& words) {
    if (words.size() == 1) return {"vm-1", "vm-2", "vm-3", "vm-4"};
    return {words.begin() + 1, words.end()};
  }

  void hello(const fuzz::Step& step) {
    const std::string host = step.words.size() > 1 ? step.words[1] : "h1";
    if (!isValidHostId(host)) return;
    close(host);
    const auto opened = openSession(engine_.state(), host, step.frame.hello(), now_);
    if (opened) sessions_[host] = *opened;
  }

  void close(const std::string& host) {
    const auto found = sessions_.find(host);
    if (found == sessions_.end()) return;
    closeSession(engine_.state(), found->second, now_);
    sessions_.erase(found);
  }

  /// As the turn loop and the store: whatever they would end the process for is a finding.
  void turn() {
    Engine::Turn turn = engine_.takeTurn(now_);
    if (turn.higher_marks) {
      Marks raised = *turn.higher_marks;
      ++raised.term.value;
      ++raised.commit.value;
      raised.restored = true;
      engine_.marksRaised(raised);
      commit_ = std::max(commit_, raised.commit.value);
    }
    for (const Change& change : turn.changes) {
      if (const auto* attempt = std::get_if<AttemptRecord>(&change)) check(*attempt);
      if (const auto* run = std::get_if<RunRecord>(&change)) check(*run);
    }
    engine_.committed({++commit_});
    for (const auto& outgoing : turn.effects.frames) {
      for (const auto& item : outgoing.frame.bulk_create().items()) {
        const auto id = idFromBytes<AttemptId>(item.attempt());
        const auto vm = idFromBytes<VmId>(item.vm());
        VMS_CHECK(id && vm, "creates name an attempt");
        known_.push_back({*id, *vm, {item.epoch()}});
      }
    }
    for (const SessionNumber session : turn.effects.close) {
      for (const auto& [host, number] : sessions_) {
        if (number != session) continue;
        close(std::string(host));
        break;
      }
    }
    if (engine_.restoreIsOver()) engine_.endRestore();
  }

  void check(const AttemptRecord& attempt) {
    const Uuid& id = attempt.ref.attempt.uuid;
    const auto was = attempts_.find(id);
    VMS_CHECK(was == attempts_.end() || was->second == attempt.state ||
                  mayReach(was->second, attempt.state, AttemptState::Ended),
              "the store accepts an attempt's next state");
    attempts_[id] = attempt.state;
    const auto open = open_.find(attempt.ref.vm);
    if (isFinal(attempt.state)) {
      if (open != open_.end() && open->second == attempt.ref.attempt) open_.erase(open);
      return;
    }
    VMS_CHECK(open == open_.end() || open->second == attempt.ref.attempt ||
                  isFinal(attempts_.at(open->second.uuid)),
              "a VM has one open attempt");
    open_[attempt.ref.vm] = attempt.ref.attempt;
  }
  void check(const RunRecord& run) {
    const auto was = runs_.find(run.id.uuid);
    VMS_CHECK(was == runs_.end() || was->second == run.state ||
                  mayReach(was->second, run.state, RunState::Cancelled),
              "the store accepts a run's next state");
    runs_[run.id.uuid] = run.state;
  }

  Rng rng_{1};
  Engine engine_{EngineOptions(), rng_};
  Now now_{{seconds(1000)}, {1'700'000'000'000}};
  Principal who_{"fuzzer", "admin"};
  std::uint64_t commit_ = 100;
  std::map<HostId, SessionNumber> sessions_;
  std::vector<RequestId> requests_;
  std::vector<AttemptRef> known_;
  std::map<Uuid, AttemptState> attempts_;
  std::map<VmId, AttemptId> open_;
  std::map<Uuid, RunState> runs_;
};

}  // namespace

/// What agents say to an engine. Steps: hello HOST, close HOST, wait MS, run VM..., stop VM...,
/// cancel, confirm|drain|activate HOST, and HOST for a frame in its session.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  log::setLevel(log::Level::Error);
  Conversation conversation;
  for (fuzz::Step& step : fuzz::readScript(fuzz::textOf(data, size), kSteps)) {
    conversation.take(std::move(step));
  }
  return 0;
}
