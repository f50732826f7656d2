#include "runner/domain_report.h"

#include <algorithm>

#include "runner/doubted_domains.h"
#include "runner/host_identity.h"
#include "runner/moved_domains.h"
#include "runner/run_book.h"
#include "schema/base/log.h"
#include "schema/frames.h"

namespace vms::runner {
namespace {

constexpr std::size_t kMaxListed = 100'000;

const std::string kForeignKey = "foreign ";

std::string keyOf(const proto::Domain& domain) {
  return domain.foreign() || domain.ref().attempt().empty()
             ? kForeignKey + domain.ref().vm() + domain.name()
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

batcher::ListedDomain listedFrom(const std::string& key, const proto::Domain& domain,
                                 bool expected) {
  batcher::ListedDomain entry;
  entry.foreign = !expected;
  entry.key = key;
  if (expected) entry.attempt = *idFromBytes<AttemptId>(domain.ref().attempt());
  entry.demand = {domain.memory(), domain.vcpus()};
  return entry;
}

/// What counts as ended because a person said that the host is off, and lives, refutes that (S7).
void noteRefuted(EngineState& state, const Host& host) {
  for (const auto& [key, domain] : host.listed) {
    const auto ref = refFromProto(domain.ref());
    if (!ref || state.findAttempt(ref->attempt) == nullptr) continue;
    AttemptRecord& record = state.attempt(ref->attempt).record;
    const bool fenced = isFinal(record.state) && record.stop_reason == AttemptRecord::kFenced;
    if (!fenced || record.ref != *ref || record.host != host.record.id) continue;
    record.stop_reason = AttemptRecord::kProofRefuted;
    state.touchAttempt(ref->attempt);
    log::error("host {}: VM {} runs there, though somebody confirmed that the host is off",
               host.record.id, record.vm_name);
  }
}

void recount(EngineState& state, Host& host) {
  std::vector<batcher::ListedDomain> listed;
  listed.reserve(host.listed.size());
  for (const auto& [key, domain] : host.listed) {
    listed.push_back(listedFrom(key, domain, isExpected(state, host, domain)));
  }
  state.inventory.setListed(host.record.id, listed);
  state.capacity_changed = true;
}

/// Attempts of an earlier boot that this complete list lacks are gone: the host's own word (S3).
void settleOldBoots(EngineState& state, Host& host, const Now& now) {
  const std::set<AttemptId> open = host.open;
  for (const AttemptId& id : open) {
    Attempt& attempt = state.attempt(id);
    const AttemptRecord& record = attempt.record;
    if (record.state == AttemptState::Placed || record.boot_id == host.record.boot_id ||
        host.listed.contains(id.uuid.toBytes())) {
      continue;
    }
    if (!record.movedAway()) endWithBoot(state, host, attempt, now);  // Else it runs elsewhere.
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

/// Settles whether this session speaks for the hypervisor that the host's record knows (S4).
void judgeHypervisor(EngineState& state, Host& host, const proto::HypervisorIdentity& identity) {
  HostRecord& record = host.record;
  if (record.hypervisor_host_uuid.empty()) {
    record.hypervisor_uri = identity.uri();
    record.hypervisor_host_uuid = identity.host_uuid();
    state.touchHost(record.id);
  }
  host.speaks_for_hypervisor = speaksForHypervisor(record, identity);
  if (host.speaks_for_hypervisor || !identity.local()) return;
  record.alarm = "its agent lists the domains of hypervisor " + identity.uri() + " (" +
                 identity.host_uuid() + "), not of " + record.hypervisor_uri + " (" +
                 record.hypervisor_host_uuid + "); 'vmsctl host confirm' accepts it";
  state.touchHost(record.id);
  log::error("host {}: {}", record.id, record.alarm);
}

/// What the list lacks may never have arrived, or may be gone: it is asked about (S1).
void doubtUnlisted(EngineState& state, Host& host, const Now& now) {
  for (const AttemptId& id : host.open) {
    Attempt& attempt = state.attempt(id);
    const AttemptState was = attempt.record.state;
    if (was == AttemptState::Placed || host.listed.contains(id.uuid.toBytes())) continue;
    attempt.news_at = now.mono - state.options.progress_timeout;
    if (was == AttemptState::Running || was == AttemptState::Ready) {
      state.setState(attempt, AttemptState::Unknown);
    }
  }
}

/// What was foreign here and has been moved on is somewhere else now. Told again and again; what
/// has been found since, or was confirmed to have ended, is not foreign here any more.
bool noteMovedOn(EngineState& state, Host& host, const proto::DomainList& list) {
  for (const proto::Domain& domain : list.moved_on()) {
    const auto vm = idFromBytes<VmId>(domain.ref().vm());
    const auto found = vm ? state.foreign.find(*vm) : state.foreign.end();
    if (found == state.foreign.end() || !found->second.contains(host.record.id)) continue;
    if (!noteMovedVm(state, host, *vm)) return false;
  }
  return true;
}

/// Whether the VM exists on the host without our being its cause.
bool existsUncaused(EngineState& state, const Host& host, VmId vm) {
  if (host.refused.contains(vm) || host.remembered.contains(vm) || host.doubted.contains(vm) ||
      host.strangers.contains(vm)) {
    return true;
  }
  const std::vector<std::string>& moved = host.record.moved;
  if (std::find(moved.rbegin(), moved.rend(), vm.str()) != moved.rend()) return true;
  const std::string bytes = vm.uuid.toBytes();
  return std::any_of(host.listed.begin(), host.listed.end(), [&](const auto& entry) {
    const proto::Domain& domain = entry.second;
    return domain.ref().vm() == bytes && !isExpected(state, host, domain);
  });
}

void addForeign(EngineState& state, const Host& host, VmId vm) {
  state.noteVm(vm);
  if (state.foreign[vm].insert(host.record.id).second && state.vms.contains(vm)) {
    log::warn("host {}: VM {} exists there outside our control", host.record.id, vm.str());
  }
}

void removeForeign(EngineState& state, const Host& host, VmId vm) {
  const auto at = state.foreign.find(vm);
  if (at == state.foreign.end()) return;
  at->second.erase(host.record.id);
  state.noteVm(vm);
  if (at->second.empty()) state.foreign.erase(at);
}

}  // namespace

bool listsForeign(const Host& host, VmId vm) {
  const std::string key = kForeignKey + vm.uuid.toBytes();
  const auto at = host.listed.lower_bound(key);
  return at != host.listed.end() && at->first.compare(0, key.size(), key) == 0;
}

void endWithBoot(EngineState& state, const Host& host, Attempt& attempt, const Now& now) {
  AttemptRecord& record = attempt.record;
  record.proof = Proof::Rebooted;
  record.stop_reason = "rebooted";
  // Its last words may have been lost with the boot, so that it may have run for all we know.
  const bool ran = record.running_at.has_value();
  const EndCause cause{ran ? ErrorClass::Crashed : ErrorClass::HostNotReady,
                       "host " + host.record.id + " rebooted"};
  const RunId run_id = record.run;
  closeAttempt(state, attempt, AttemptState::Ended, cause, now);
  const auto run = state.runs.find(run_id);
  if (run != state.runs.end()) afterFailure(state, run->second, host.record.id, cause, now);
}

void markForeign(EngineState& state, Host& host) {
  std::set<VmId> found = host.refused;
  found.insert(host.remembered.begin(), host.remembered.end());
  for (const auto& [vm, doubt] : host.doubted) found.insert(vm);
  for (const auto& [vm, session] : host.strangers) found.insert(vm);
  for (const std::string& text : host.record.moved) found.insert(*parseVmId(text));
  for (const auto& [key, domain] : host.listed) {
    const auto vm = idFromBytes<VmId>(domain.ref().vm());
    if (!vm || isExpected(state, host, domain)) continue;
    found.insert(*vm);
    const auto known = state.vms.find(*vm);
    if (domain.foreign() || known == state.vms.end()) continue;
    if (domain.ref().epoch() > known->second.record.epoch.value) {
      known->second.record.epoch.value = domain.ref().epoch();
      state.touchEpoch(*vm);
    }
  }
  std::vector<std::string> texts;
  for (const VmId& vm : found) texts.push_back(vm.str());
  if (texts == host.record.foreign) return;
  for (const std::string& text : host.record.foreign) {
    removeForeign(state, host, *parseVmId(text));
  }
  for (const VmId& vm : found) addForeign(state, host, vm);
  host.record.foreign = std::move(texts);
  state.touchHost(host.record.id);
  state.capacity_changed = true;
}

void markForeignVm(EngineState& state, Host& host, VmId vm) {
  std::vector<std::string>& texts = host.record.foreign;  // In the order of their VMs' ids.
  std::string text = vm.str();
  const auto at = std::lower_bound(texts.begin(), texts.end(), text);
  const bool was = at != texts.end() && *at == text;
  if (existsUncaused(state, host, vm) == was) return;
  if (was) {
    texts.erase(at);
    removeForeign(state, host, vm);
  } else {
    texts.insert(at, std::move(text));
    addForeign(state, host, vm);
  }
  state.touchHost(host.record.id);
  state.capacity_changed = true;
}

void forgetListed(EngineState& state, Host& host, const AttemptRef& ref) {
  const bool listed = host.listed.erase(ref.attempt.uuid.toBytes()) > 0;
  markForeignVm(state, host, ref.vm);
  if (listed) recount(state, host);
}

Result<void> onDomainList(EngineState& state, Host& host, const proto::DomainList& list,
                          const Now& now) {
  std::size_t count = list.complete() ? 0 : host.listed.size();
  for (const proto::Domain& domain : list.domains()) {
    if (list.complete() || !host.listed.contains(keyOf(domain))) ++count;
  }
  if (count > kMaxListed) {
    return Error{ErrorClass::TooLarge, "a list that makes " + std::to_string(count) +
                                           " domains on one host; at most " +
                                           std::to_string(kMaxListed) + " are kept"};
  }
  std::set<VmId> before;
  if (list.complete()) before = foreignHere(host);
  if (!noteMovedOn(state, host, list)) {
    return tooManyMoved();
  }
  if (list.complete()) {
    host.listed.clear();
    host.refused.clear();
    host.remembered.clear();
    std::erase_if(host.strangers,
                  [&](const auto& told) { return told.second != host.session->number; });
  }
  bool all_expected = true;
  for (const proto::Domain& domain : list.domains()) {
    host.listed[keyOf(domain)] = domain;
    all_expected = all_expected && isExpected(state, host, domain);
  }
  if (list.complete()) {
    host.session->listed = true;
    doubtMissing(state, host, before);
    judgeHypervisor(state, host, list.hypervisor());
    // A restored database may have forgotten how they ended, which the host knows: it is asked.
    if (host.speaks_for_hypervisor && !state.marks.restored) settleOldBoots(state, host, now);
    confirmListed(state, host, now);
    doubtUnlisted(state, host, now);
    host.look = true;
  } else if (all_expected) {
    // Domains of ours that came up: nothing follows for anything else, and no room appears.
    for (const proto::Domain& domain : list.domains()) {
      state.inventory.list(host.record.id, listedFrom(keyOf(domain), domain, true));
    }
    return {};
  }
  noteRefuted(state, host);
  markForeign(state, host);
  findMoved(state, host, now);
  recount(state, host);
  return {};
}

}  // namespace vms::runner
