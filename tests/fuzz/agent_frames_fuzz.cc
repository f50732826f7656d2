#include <string>
#include <vector>

#include "schema/base/log.h"
#include "schema/frames.h"
#include "tests/fuzz/frame_script.h"
#include "tests/fuzz/target.h"
#include "tests/unit/agent_bench.h"

using namespace vms;             // NOLINT: a program of its own.
using namespace vms::hostagent;  // NOLINT

namespace {

constexpr std::size_t kSteps = 24;
/// Attempts that scripts may name: two epochs of three VMs.
std::vector<AttemptRef> attempts() {
  std::vector<AttemptRef> refs;
  for (std::uint8_t i = 0; i < 6; ++i) {
    refs.push_back(AgentBench::ref(static_cast<std::uint8_t>(1 + i / 2), 1 + i % 2));
  }
  return refs;
}

}  // namespace

/// What an engine says to an agent. Steps: send, wait MS, cut, crash, and term N and store for what
/// the engine says of itself in its next welcome.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  log::setLevel(log::Level::Error);
  const std::vector<AttemptRef> known = attempts();
  std::vector<fuzz::Step> steps = fuzz::readScript(fuzz::textOf(data, size), kSteps);
  if (steps.empty()) return 0;
  AgentBench bench(1);
  bench.startAgent();
  VMS_CHECK(bench.untilReady(), "an agent gets ready");
  for (fuzz::Step& step : steps) {
    fuzz::nameAttempts(step.frame,
                       [&](std::size_t n) { return n < known.size() ? &known[n] : nullptr; });
    const std::string& what = step.words.front();
    if (what == "send") {
      bench.engine.send(std::move(step.frame));
      bench.runFor(milliseconds(1));
    } else if (what == "wait") {
      bench.runFor(
          milliseconds(static_cast<std::int64_t>(fuzz::numberAt(step.words, 1, 1000, 20'000))));
    } else if (what == "cut") {
      bench.engine.cut();
    } else if (what == "term") {
      bench.engine.term = fuzz::numberAt(step.words, 1, 7, 1U << 20U);
    } else if (what == "store") {
      bench.engine.store_id = std::string(16, 'S');
    } else if (what == "crash") {
      bench.crashAgent();
      bench.startAgent();
    }
  }
  bench.runFor(seconds(5));
  for (const AttemptRef& ref : known) {
    const auto resumed = bench.resumed.find(ref.attempt);
    VMS_CHECK(resumed == bench.resumed.end() || resumed->second <= 1,
              "an attempt lets its guest execute once");
  }
  VMS_CHECK(bench.agentRuns(), "the agent lives on");
  return 0;
}
