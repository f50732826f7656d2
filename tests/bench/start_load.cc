#include "tests/bench/start_load.h"

#include <algorithm>
#include <atomic>
#include <latch>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "tests/bench/api_caller.h"
#include "tests/bench/interrupt.h"

namespace vms::bench {
namespace {

/// Long enough for the turn after the acknowledgement to be over, too.
constexpr Duration kRest = milliseconds(15);

Result<HttpsConnection> connectTo(const LoadTarget& target) {
  return connectToApi(target.engine.apiAddress(), (target.engine.pki() / "ca.crt").string(),
                      target.engine.token());
}

Result<void> waitForStarts(const LoadTarget& target, std::size_t starts) {
  const auto started = [&] { return target.tap.acknowledgedStarts() >= starts; };
  auto waited = waitUntil([&] { return started() || !target.engine.process().running(); },
                          target.limit, "starting the VMs");
  if (waited && !started()) return Error(ErrorClass::Unavailable, "the engine has ended");
  return waited;
}

/// The clients of one load: threads, because each does nothing but wait for its answer.
class Clients {
 public:
  explicit Clients(const std::vector<std::string>& singles) : singles_(singles) {}

  void runSingles(HttpsConnection& api) {
    for (;;) {
      const std::size_t i = next_.fetch_add(1);
      if (i >= singles_.size() || failed_ || interrupted()) return;
      const auto started = startVms(api, {singles_[i]});
      if (!started) return fail(started.error());
      noteAnswer();
    }
  }

  void runBulk(HttpsConnection& api, const std::vector<std::string>& names, RequestId& id) {
    const auto started = startVms(api, names);
    if (!started) return fail(started.error());
    id = *started;
    noteAnswer();
  }

  std::optional<Error> failure() const { return failure_; }
  std::int64_t lastAnswerUs() const { return last_answer_us_; }

 private:
  void noteAnswer() {
    const std::int64_t now = wallMicros();
    const std::lock_guard lock(mutex_);
    last_answer_us_ = std::max(last_answer_us_, now);
  }
  void fail(const Error& error) {
    const std::lock_guard lock(mutex_);
    failed_ = true;
    if (!failure_) failure_ = error;
  }

  const std::vector<std::string>& singles_;
  std::atomic<std::size_t> next_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;
  std::optional<Error> failure_;
  std::int64_t last_answer_us_ = 0;
};

}  // namespace

Result<std::vector<SeenBatch>> startAlone(const LoadTarget& target,
                                          const std::vector<std::string>& names) {
  Result<HttpsConnection> api = connectTo(target);
  if (!api) return api.error();
  target.tap.takeBatches();
  for (const std::string& name : names) {
    const std::size_t before = target.tap.acknowledgedStarts();
    const auto started = startVms(*api, {name});
    if (!started) return started.error();
    if (auto up = waitForStarts(target, before + 1); !up) return up.error();
    std::this_thread::sleep_for(kRest);
  }
  return target.tap.takeBatches();
}

Result<LoadResult> startUnderLoad(const LoadTarget& target, const std::vector<std::string>& singles,
                                  const std::vector<std::string>& bulk, std::size_t connections) {
  std::vector<HttpsConnection> apis;
  for (std::size_t i = 0; i < connections + 1; ++i) {
    Result<HttpsConnection> api = connectTo(target);
    if (!api) return api.error();
    apis.push_back(std::move(*api));
  }
  LoadResult result;
  target.tap.takeBatches();
  const std::size_t starts_before = target.tap.acknowledgedStarts();
  const std::uint64_t bytes_before = target.tap.bytes();
  const std::uint64_t frames_before = target.tap.frames();
  Clients clients(singles);
  std::latch begin(1);
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    begin.wait();
    clients.runBulk(apis.back(), bulk, result.bulk);
  });
  for (std::size_t i = 0; i < connections; ++i) {
    threads.emplace_back([&, i] {
      begin.wait();
      clients.runSingles(apis[i]);
    });
  }
  result.begun_us = wallMicros();
  begin.count_down();
  for (std::thread& thread : threads) thread.join();
  if (const auto failure = clients.failure()) return *failure;
  if (auto up = waitForStarts(target, starts_before + singles.size() + bulk.size()); !up) {
    return up.error();
  }
  result.last_accepted_us = clients.lastAnswerUs();
  result.last_durable_us = target.tap.lastAcknowledgedUs();
  result.wire_bytes = target.tap.bytes() - bytes_before;
  result.wire_frames = target.tap.frames() - frames_before;
  result.batches = target.tap.takeBatches();
  return result;
}

}  // namespace vms::bench
