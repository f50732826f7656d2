#include "tests/bench/history_rows.h"

#include <fmt/format.h>

#include <map>
#include <utility>

namespace vms::bench {
namespace {

using runner::AttemptRecord;
using runner::Change;
using runner::RequestRecord;
using runner::RunRecord;

constexpr std::int64_t kDayMs = 24LL * 3600 * 1000;

}  // namespace

HistoryRows::HistoryRows(const HistoryShape& shape, WallTime end)
    : shape_(shape), rng_(shape.seed), end_(end), epochs_(shape.vms) {
  const double days =
      static_cast<double>(shape.attempts) / (static_cast<double>(shape.hosts) * shape.per_host_day);
  begin_ = {end.unix_ms - static_cast<std::int64_t>(days * kDayMs)};
  for (std::uint32_t i = 0; i < shape.vms; ++i) vm_ids_.push_back(makeUuidV7(begin_, rng_));
}

std::string HistoryRows::host(std::uint64_t number) const {
  return fmt::format("node-{:03}.lab.example", number % shape_.hosts);
}

runner::VmRecord HistoryRows::vm(std::uint32_t number) const {
  runner::VmRecord vm;
  vm.spec.id.uuid = vm_ids_[number];
  vm.spec.name = fmt::format("lab-{:03}-vm-{:02}", number / kLab, number % kLab);
  vm.spec.domain_type = "kvm";
  vm.spec.memory = std::uint64_t{2} << 30U;
  vm.spec.vcpus = 2;
  vm.xml = "<domain type='kvm'>" + std::string(1200, ' ') + "</domain>";
  vm.epoch.value = epochs_[number];
  vm.defined_at = vm.updated_at = begin_;
  return vm;
}

std::vector<Change> HistoryRows::vms() {
  std::vector<Change> changes;
  for (std::uint32_t i = 0; i < shape_.vms; ++i) changes.emplace_back(vm(i));
  return changes;
}

void HistoryRows::skip(const std::vector<runner::VmRecord>& vms) {
  std::map<Uuid, std::uint64_t> epochs;
  for (const runner::VmRecord& vm : vms) epochs[vm.spec.id.uuid] = vm.epoch.value;
  for (std::size_t i = 0; i < vm_ids_.size(); ++i) epochs_[i] = epochs[vm_ids_[i]];
  made_ = shape_.attempts;
}

HistoryRows::Place HistoryRows::place() {
  return {static_cast<std::uint32_t>(rng_.below(shape_.vms)), host(rng_.below(shape_.hosts))};
}

WallTime HistoryRows::after(WallTime time, std::uint64_t around_ms) {
  return {time.unix_ms + static_cast<std::int64_t>(around_ms / 2 + rng_.below(around_ms + 1))};
}

RequestRecord HistoryRows::requestAt(WallTime at, std::uint32_t total) {
  RequestRecord request;
  request.id.uuid = makeUuidV7(at, rng_);
  request.principal = "token-operator";
  request.idempotency_key = request.id.str();
  request.body_hash = std::string(64, 'a');
  request.total = total;
  request.batches = 4;
  request.created_at = at;
  return request;
}

RunRecord HistoryRows::runOf(const RequestRecord& request, std::uint32_t vm) {
  RunRecord run;
  run.id.uuid = makeUuidV7(request.created_at, rng_);
  run.request = request.id;
  run.vm.uuid = vm_ids_[vm];
  run.vm_name = fmt::format("lab-{:03}-vm-{:02}", vm / kLab, vm % kLab);
  const std::uint64_t why = rng_.below(100);
  if (why < 4) run.reason = RunReason::Ha;
  if (why >= 98) run.reason = RunReason::Rerun;
  run.requester = request.principal;
  run.requested_at = request.created_at;
  return run;
}

AttemptRecord HistoryRows::attemptOf(const RunRecord& run, const Place& place) {
  AttemptRecord attempt;
  attempt.ref = {{makeUuidV7(run.requested_at, rng_)}, run.vm, {++epochs_[place.vm]}};
  attempt.run = run.id;
  attempt.request = run.request;
  attempt.vm_name = run.vm_name;
  attempt.host = place.host;
  attempt.boot_id = "5b6e3c52-9f0d-4a63-8c3e-7a90c2f1d4aa";
  attempt.term.value = 7;
  attempt.batch.emplace();
  attempt.batch->uuid = makeUuidV7(run.requested_at, rng_);
  attempt.reason = run.reason;
  attempt.requester = run.requester;
  attempt.memory = std::uint64_t{2} << 30U;
  attempt.vcpus = 2;
  attempt.requested_at = run.requested_at;
  attempt.placed_at = after(attempt.requested_at, 4);
  attempt.sent_at = after(attempt.placed_at, 2);
  attempt.state = AttemptState::Sent;
  return attempt;
}

void HistoryRows::finish(RunRecord& run, AttemptRecord& attempt) {
  const std::uint64_t fate = rng_.below(100);
  attempt.accepted_at = after(*attempt.sent_at, 10);
  attempt.staged_at = after(*attempt.accepted_at, 1);
  attempt.build_started_at = after(*attempt.staged_at, 4000);
  run.tries = 1;
  if (fate < 3) {
    run.state = RunState::Failed;
    attempt.state = AttemptState::Failed;
    attempt.error_class = run.error_class = ErrorClass::HostRejected;
    attempt.error = run.error =
        "host refused the domain: cannot access storage file '/var/lib/images/disk.qcow2'";
    attempt.ended_at = run.finished_at = after(*attempt.build_started_at, 500);
    return;
  }
  if (fate < 4) {
    run.state = RunState::Cancelled;
    attempt.state = AttemptState::Dropped;
    attempt.cancel_wished = true;
    attempt.ended_at = run.finished_at = after(*attempt.build_started_at, 100);
    return;
  }
  attempt.built_at = after(*attempt.build_started_at, 500);
  attempt.running_at = attempt.ready_at = after(*attempt.built_at, 20);
  run.state = RunState::Succeeded;
  run.finished_at = attempt.running_at;
  run.attempt = attempt.ref.attempt;
  attempt.state = AttemptState::Ended;
  attempt.ended_at = attempt.stopped_at = after(*attempt.running_at, 3'600'000);
  attempt.stop_reason = "requested";
  attempt.stop_requester = "token-operator";
}

std::vector<Change> HistoryRows::request() {
  const double done = static_cast<double>(made_) / static_cast<double>(shape_.attempts);
  const auto span = static_cast<double>(end_.unix_ms - begin_.unix_ms);
  const WallTime at{begin_.unix_ms + static_cast<std::int64_t>(done * span)};
  RequestRecord request = requestAt(at, kLab);
  request.finished_at = after(at, 20'000);
  std::vector<Change> changes;
  changes.emplace_back(request);
  for (std::uint32_t i = 0; i < kLab; ++i) {
    const Place where = place();
    RunRecord run = runOf(request, where.vm);
    AttemptRecord attempt = attemptOf(run, where);
    finish(run, attempt);
    changes.emplace_back(runner::ItemRecord{request.id, i, run.vm, run.id, false});
    changes.emplace_back(std::move(run));
    changes.emplace_back(std::move(attempt));
  }
  made_ += kLab;
  rows_ += changes.size();
  return changes;
}

std::vector<Change> HistoryRows::turn(WallTime now, std::uint32_t vms) {
  const RequestRecord request = requestAt(now, vms);
  std::vector<Change> changes;
  changes.emplace_back(request);
  for (std::uint32_t i = 0; i < vms; ++i) {
    const Place where = place();
    RunRecord run = runOf(request, where.vm);
    run.state = RunState::Active;
    AttemptRecord attempt = attemptOf(run, where);
    run.attempt = attempt.ref.attempt;
    changes.emplace_back(vm(where.vm));
    changes.emplace_back(runner::ItemRecord{request.id, i, run.vm, run.id, false});
    changes.emplace_back(std::move(run));
    changes.emplace_back(std::move(attempt));
  }
  return changes;
}

}  // namespace vms::bench
