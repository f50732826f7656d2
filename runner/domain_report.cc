#include "runner/domain_report.h"

#include "runner/host_identity.h"
#include "runner/run_book.h"
#include "schema/base/log.h"
#include "schema/frames.h"

namespace vms::runner {
namespace {

constexpr int kMaxListed = 100'000;

std::string keyOf(const proto::Domain& domain) {
  return domain.foreign() || domain.ref().attempt().empty()
             ? "foreign " + domain.ref().vm() + domain.name()
             : domain.ref().attempt();
}

/// Whether the engine expects this domain here: it is the VM's open attempt on this host.
bool isExpected(EngineState& state, const Host& host, const proto::Domain& domain) {
  if (domain.foreign()) return false;
  const auto ref = refFromProto(domain.ref());
  const Attempt* attempt = ref ? state.findAttempt(ref->attempt) : nullptr;
  return attempt != nullptr && attempt->record.ref == *ref &&
         attempt->record.host == host.record.id && !isFinal(attempt->record.state);
}

void recount(EngineState& state, Host& host) {
  std::vector<batcher::ListedDomain> listed;
  listed.reserve(host.listed.size());
  for (const auto& [key, domain] : host.listed) {
    batcher::ListedDomain entry;
    entry.foreign = !isExpected(state, host, domain);
    entry.key = key;
    if (!entry.foreign) entry.attempt = *idFromBytes<AttemptId>(domain.ref().attempt());
    entry.demand = {domain.memory(), domain.vcpus()};
    listed.push_back(std::move(entry));
  }
  state.inventory.setListed(host.record.id, listed);
  state.capacity_changed = true;
}

/// A managed VM that exists there without our being its cause must not be started anywhere (S11).
void markForeign(EngineState& state, Host& host) {
  for (auto& [id, vm] : state.vms) {
    if (vm.foreign.erase(host.record.id) > 0) state.capacity_changed = true;
  }
  for (const auto& [key, domain] : host.listed) {
    const auto vm_id = idFromBytes<VmId>(domain.ref().vm());
    const auto vm = vm_id ? state.vms.find(*vm_id) : state.vms.end();
    if (vm == state.vms.end() || isExpected(state, host, domain)) continue;
    vm->second.foreign[host.record.id] = true;
    if (!domain.foreign() && domain.ref().epoch() > vm->second.record.epoch.value) {
      vm->second.record.epoch.value = domain.ref().epoch();
      state.touchVm(vm->first);
    }
    log::warn("host {}: VM '{}' runs there outside our control", host.record.id, domain.name());
  }
}

/// Attempts of an earlier boot that this complete list lacks are gone: the host's own word (S3).
void settleOldBoots(EngineState& state, Host& host, const Now& now) {
  const std::set<AttemptId> open = host.open;
  for (const AttemptId& id : open) {
    Attempt& attempt = state.attempt(id);
    AttemptRecord& record = attempt.record;
    if (record.state == AttemptState::Placed || record.boot_id == host.record.boot_id ||
        host.listed.contains(id.uuid.toBytes())) {
      continue;
    }
    record.proof = Proof::Rebooted;
    const bool ran = record.running_at.has_value();
    if (ran) record.stop_reason = "rebooted";
    const EndCause cause{ran ? ErrorClass::Crashed : ErrorClass::HostNotReady,
                         "host " + host.record.id + " rebooted"};
    const RunId run_id = record.run;
    closeAttempt(state, attempt, ran ? AttemptState::Ended : AttemptState::Failed, cause, now);
    const auto run = state.runs.find(run_id);
    if (run != state.runs.end()) afterFailure(state, run->second, host.record.id, cause, now);
  }
}

/// What the list shows running goes on from UNKNOWN.
void confirmListed(EngineState& state, Host& host, const Now& now) {
  for (const auto& [key, domain] : host.listed) {
    if (!isExpected(state, host, domain)) continue;
    Attempt& attempt = state.attempt(*idFromBytes<AttemptId>(domain.ref().attempt()));
    attempt.news_at = now.mono;
    if (attempt.record.state == AttemptState::Unknown && attempt.record.running_at) {
      attemptRuns(state, attempt, now);
    }
  }
}

}  // namespace

Result<void> onDomainList(EngineState& state, Host& host, const proto::DomainList& list,
                          const Now& now) {
  if (list.domains_size() > kMaxListed) {
    return Error{ErrorClass::TooLarge, "a list of more than 100000 domains"};
  }
  if (list.complete()) host.listed.clear();
  for (const proto::Domain& domain : list.domains()) host.listed[keyOf(domain)] = domain;
  if (!list.complete()) {
    recount(state, host);
    return {};
  }

  HostRecord& record = host.record;
  const proto::HypervisorIdentity& identity = list.hypervisor();
  if (record.hypervisor_host_uuid.empty()) {
    record.hypervisor_uri = identity.uri();
    record.hypervisor_host_uuid = identity.host_uuid();
    state.touchHost(record.id);
  }
  host.speaks_for_hypervisor = speaksForHypervisor(record, identity);
  if (!host.speaks_for_hypervisor) {
    record.alarm = "its agent lists the domains of hypervisor " + identity.uri() + " (" +
                   identity.host_uuid() + "), not of " + record.hypervisor_uri + " (" +
                   record.hypervisor_host_uuid + ")";
    state.touchHost(record.id);
    log::error("host {}: {}", record.id, record.alarm);
  }
  host.session->listed = true;
  if (host.speaks_for_hypervisor) settleOldBoots(state, host, now);
  confirmListed(state, host, now);
  markForeign(state, host);
  recount(state, host);
  // Attempts that the list lacks may never have arrived, or may be gone: ask (S1).
  for (const AttemptId& id : host.open) {
    Attempt& attempt = state.attempt(id);
    const AttemptState was = attempt.record.state;
    if (was == AttemptState::Placed || host.listed.contains(id.uuid.toBytes())) continue;
    attempt.news_at = now.mono - state.options.progress_timeout;
    if (was == AttemptState::Running || was == AttemptState::Ready) {
      state.setState(attempt, AttemptState::Unknown);
    }
  }
  return {};
}

}  // namespace vms::runner
