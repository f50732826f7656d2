#include "tests/sim/workload.h"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace vms::sim {

Workload::Workload(SimCluster& cluster, Client& client, Rng rng, std::size_t vms, Duration window)
    : cluster_(cluster), client_(client), rng_(rng), window_(window) {
  const bool gates = rng_.chance(0.3);
  for (std::size_t i = 0; i < vms; ++i) {
    VmDraft vm;
    char name[24];
    std::snprintf(name, sizeof name, "vm-%03zu", i + 1);
    vm.name = name;
    vm.memory = rng_.between(std::uint64_t{1}, std::uint64_t{6}) << 29U;
    const bool gated = gates && rng_.chance(0.3);
    if (gated) vm.gate = milliseconds(rng_.between(std::uint64_t{200}, std::uint64_t{8000}));
    vms_.push_back(std::move(vm));
  }
}

namespace {

std::vector<std::string> namesOf(const std::vector<VmDraft>& vms) {
  std::vector<std::string> names;
  for (const VmDraft& vm : vms) names.push_back(vm.name);
  return names;
}

}  // namespace

void Workload::at(Duration when, std::function<void()> act) {
  cluster_.world().at(TimePoint{when}, std::move(act));
}

Duration Workload::anyTime(Rng& rng) const { return rng.between(Duration(seconds(2)), window_); }

std::vector<std::string> Workload::someNames(Rng& rng, std::size_t most) const {
  std::vector<std::string> left = namesOf(vms_);
  const std::uint64_t wanted = rng.between(std::uint64_t{1}, std::min(most, left.size()));
  std::vector<std::string> chosen;
  while (chosen.size() < wanted) {
    const auto place = static_cast<std::ptrdiff_t>(rng.below(left.size()));
    chosen.push_back(left[static_cast<std::size_t>(place)]);
    left.erase(left.begin() + place);
  }
  return chosen;
}

void Workload::planStart(Rng& rng) {
  StartOrder order;
  const bool keyed = rng.chance(0.8);
  if (keyed) order.key = "k" + std::to_string(next_key_++);
  order.all = rng.chance(0.2);
  const bool single = rng.chance(0.4);
  if (!order.all) order.vms = someNames(rng, single ? 1 : vms_.size());
  order.paused = rng.chance(0.1);
  const bool pinned = rng.chance(0.1);
  const std::size_t host = static_cast<std::size_t>(rng.below(cluster_.nodes().size()));
  if (pinned) order.host = cluster_.nodes()[host]->host.id();
  const bool hurried = rng.chance(0.1);
  const Duration deadline = rng.between(milliseconds(100), seconds(10));
  if (hurried) order.deadline = deadline;

  const Duration when = anyTime(rng);
  at(when, [this, order]() { client_.start(order); });
  const bool repeated = rng.chance(0.3);
  const bool other_body = rng.chance(0.3);
  const bool cancelled = rng.chance(0.25);
  const Duration pause = rng.between(Duration{}, Duration(seconds(6)));
  if (!keyed) return;
  if (repeated) {
    StartOrder again = order;
    if (other_body) again.paused = !again.paused;
    at(when + pause, [this, again]() { client_.start(again); });
  }
  if (cancelled) {
    const std::string key = order.key;
    at(when + pause, [this, key]() { client_.cancel(key); });
  }
}

void Workload::planStop(Rng& rng) {
  const std::vector<std::string> names = someNames(rng, 5);
  const bool force = rng.chance(0.5);
  const Duration when = anyTime(rng);
  at(when, [this, names, force]() { client_.stop(names, force); });
}

void Workload::schedule() {
  at(milliseconds(100), [this]() { client_.define(vms_); });
  const std::uint64_t starts = rng_.between(std::uint64_t{1}, std::uint64_t{12});
  for (std::uint64_t i = 0; i < starts; ++i) planStart(rng_);
  const std::uint64_t stops = rng_.below(6);
  for (std::uint64_t i = 0; i < stops; ++i) planStop(rng_);
  const std::uint64_t looks = rng_.below(20);
  for (std::uint64_t i = 0; i < looks; ++i) {
    const Duration when = anyTime(rng_);
    at(when, [this]() { client_.look(); });
  }
  if (rng_.chance(0.2)) {
    const std::size_t host = static_cast<std::size_t>(rng_.below(cluster_.nodes().size()));
    const HostId id = cluster_.nodes()[host]->host.id();
    const Duration when = anyTime(rng_);
    at(when, [this, id]() { client_.drain(id, true); });
    at(window_, [this, id]() { client_.drain(id, false); });
  }
  // A host is emptied for good: drained, everything on it stopped, and taken away.
  if (rng_.chance(0.15)) {
    const std::size_t host = static_cast<std::size_t>(rng_.below(cluster_.nodes().size()));
    Node& node = *cluster_.nodes()[host];
    const Duration when = anyTime(rng_);
    const Duration pause = rng_.between(Duration{}, Duration(seconds(20)));
    at(when, [this, id = node.host.id()]() { client_.drain(id, true); });
    at(when + pause / 2, [this]() { client_.stop(namesOf(vms_), true); });
    const Duration off = std::min<Duration>(when + pause, window_ - milliseconds(1));
    at(off, [this, &node]() { cluster_.powerOff(node); });
    at(window_, [this, id = node.host.id()]() { client_.drain(id, false); });
  }
  // A VM goes and comes back; its epochs go on.
  if (rng_.chance(0.3)) {
    const VmDraft vm = vms_[static_cast<std::size_t>(rng_.below(vms_.size()))];
    const Duration when = anyTime(rng_);
    const Duration pause = rng_.between(Duration{}, Duration(seconds(5)));
    at(when, [this, vm]() { client_.undefine(vm.name); });
    at(when + pause, [this, vm]() { client_.define({vm}); });
  }
  // A steady trickle of single starts, as users click.
  if (rng_.chance(0.3)) {
    Duration when = anyTime(rng_);
    for (int i = 0; i < 20; ++i) {
      StartOrder order;
      order.key = "t" + std::to_string(next_key_++);
      order.vms = someNames(rng_, 1);
      at(when, [this, order]() { client_.start(order); });
      when += rng_.between(milliseconds(10), milliseconds(700));
    }
  }
}

}  // namespace vms::sim
