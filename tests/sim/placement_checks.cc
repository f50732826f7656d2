#include <algorithm>

#include "tests/sim/checkers.h"

/// Rules about where and when the engine places: not on what it knows to be unfit. The engine
/// decides between two commits, so that only what it knew before and after counts against it.
namespace vms::sim {

using runner::AttemptRecord;

namespace {

constexpr std::uint64_t kHypervisorTimeoutMs = 15'000;

}  // namespace

void Checkers::frameDelivered(const WireEvent& event) {
  const WatchedHost* const host = findHost(std::string(event.link));
  proto::Frame frame;
  if (host == nullptr ||
      !frame.ParseFromArray(event.bytes.data(), static_cast<int>(event.bytes.size()))) {
    return;
  }
  HostReport& report = reports_[host->name];
  if (event.direction == Direction::ToAgent) return;
  if (frame.session() == 0 || frame.session() != report.session) return;
  if (frame.has_agent_heartbeat()) {
    const proto::AgentHeartbeat& beat = frame.agent_heartbeat();
    report.ready =
        beat.readiness() == proto::READY && beat.hypervisor_age_ms() <= kHypervisorTimeoutMs;
    report.was_ready = report.was_ready || report.ready;
  }
  if (!frame.has_domain_list()) return;
  if (frame.domain_list().complete()) report.foreign.clear();
  for (const proto::Domain& domain : frame.domain_list().domains()) {
    if (domain.foreign()) report.foreign[domain.ref().vm() + domain.name()] = domain;
  }
}

bool Checkers::isForgotten(const HostId& id, const std::vector<runner::Change>& changes) const {
  for (const runner::Change& change : changes) {
    const auto* host = std::get_if<runner::HostRecord>(&change);
    if (host != nullptr && host->id == id) return !host->forgotten_by.empty();
  }
  const auto row = store_.contents().hosts.find(id);
  return row != store_.contents().hosts.end() && !row->second.forgotten_by.empty();
}

void Checkers::attemptPlaced(const AttemptRecord& next,
                             const std::vector<runner::Change>& changes) {
  const std::string what = describe(next.ref) + " was placed on " + next.host;
  const StoreContents& durable = store_.contents();
  if (durable.marks.restored) {
    fail("started_unconfirmed", what + " while the database is restored and not confirmed");
  }
  if (met_term_ > durable.marks.term.value || met_commit_ > durable.marks.commit.value + 1) {
    fail("started_behind_marks", what + " though a host has met commit " +
                                     std::to_string(met_commit_) + " of term " +
                                     std::to_string(met_term_));
  }
  const std::string ours = durable.marks.start.uuid.toBytes();
  for (const std::string& start : met_starts_[durable.marks.term.value]) {
    if (start == ours) continue;
    fail("started_behind_marks", what + " in term " + std::to_string(durable.marks.term.value) +
                                     " though a host has met another engine of that term");
  }
  const auto row = durable.hosts.find(next.host);
  bool unfit = row != durable.hosts.end() && (row->second.draining || !row->second.alarm.empty());
  for (const runner::Change& change : changes) {
    const auto* host = std::get_if<runner::HostRecord>(&change);
    if (host != nullptr && host->id == next.host) {
      unfit = unfit && (host->draining || !host->alarm.empty());
    }
  }
  if (unfit) fail("unfit_host", what + ", which is drained or has an alarm");

  const HostReport& before = reports_before_[next.host];
  const HostReport& after = reports_[next.host];
  if (before.session == after.session && !before.ready && !after.was_ready) {
    fail("unready_host", what + ", whose hypervisor does not answer");
  }
  for (const auto& [id, report] : reports_) {
    if (isForgotten(id, changes)) continue;  // A person says that nothing runs there.
    // What an earlier life of the engine heard counts as far as it became durable (S13).
    const bool heard = (report.session >> 32U) == durable.marks.term.value;
    const auto stored = durable.hosts.find(id);
    const bool known = stored != durable.hosts.end() &&
                       std::count(stored->second.foreign.begin(), stored->second.foreign.end(),
                                  next.ref.vm.str()) > 0;
    for (const auto& [key, domain] : report.foreign) {
      if (domain.ref().vm() != next.ref.vm.uuid.toBytes()) continue;
      if (reports_before_[id].foreign.count(key) == 0 || !(heard || known)) continue;
      fail("started_beside_foreign", what + " while it runs on " + id + " outside our control");
    }
  }
  std::uint64_t used = next.memory;
  for (const auto& [key, domain] : after.foreign) {
    if (before.foreign.count(key) > 0) used += domain.memory();
  }
  for (const auto& [id, other] : durable.attempts) {
    if (other.host == next.host && !isFinal(other.state) && id != next.ref.attempt) {
      used += other.memory;
    }
  }
  for (const runner::Change& change : changes) {
    // What ends in the same turn has made room.
    const auto* other = std::get_if<AttemptRecord>(&change);
    if (other == nullptr || other->host != next.host || !isFinal(other->state)) continue;
    const AttemptRecord* const old = attempt(other->ref.attempt);
    if (old != nullptr && !isFinal(old->state)) used -= old->memory;
  }
  const WatchedHost* const host = findHost(next.host);
  if (host != nullptr && used > host->host->memory()) {
    fail("capacity", what + " beside foreign domains, which together need " +
                         std::to_string(used >> 20U) + " MiB");
  }
  const auto earliest = not_before_.find(next.run);
  if (earliest != not_before_.end() && world_.now() < earliest->second) {
    fail("backoff_cut", what + " before the back-off of its run was over");
  }
}

void Checkers::backoffNoted(const runner::RunRecord& next) {
  not_before_.erase(next.id);
  if (next.backoff <= Duration{}) return;
  // It began after the commit before, on a clock that may run fast.
  not_before_[next.id] = last_commit_ + (next.backoff - next.backoff / 1'000);
}

}  // namespace vms::sim
