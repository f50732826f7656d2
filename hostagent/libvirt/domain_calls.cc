#include "hostagent/libvirt/domain_calls.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>

#include "hostagent/libvirt/domain_claim_xml.h"
#include "hostagent/libvirt/errors.h"

namespace vms::hostagent {
namespace {

constexpr milliseconds kGonePoll{20};
constexpr int kGonePolls = 1000;  // 20 s: QEMU gets 15 s from libvirt until SIGKILL, and some more.

struct FreeDomain {
  void operator()(virDomainPtr domain) const { virDomainFree(domain); }
};
struct FreeText {
  void operator()(char* text) const { std::free(text); }
};
using DomainHandle = std::unique_ptr<virDomain, FreeDomain>;
using Text = std::unique_ptr<char, FreeText>;

int lastCode() {
  const virErrorPtr last = virGetLastError();
  return last == nullptr ? VIR_ERR_OK : last->code;
}

/// The failure of the last call. A connection found dead makes it UnknownOutcome, whatever libvirt
/// said.
Error failure(VirtConnection& connection, std::string_view what) {
  Error error = lastLibvirtError(what);
  if (!connection.usable() || virConnectIsAlive(connection.raw()) != 1) {
    error.error_class = ErrorClass::UnknownOutcome;
  }
  if (error.error_class == ErrorClass::UnknownOutcome) connection.markBroken();
  return error;
}

DomainState stateOf(int state, int reason) {
  switch (state) {
    case VIR_DOMAIN_PAUSED:
      if (reason == VIR_DOMAIN_PAUSED_STARTING_UP) return DomainState::Starting;
      return reason == VIR_DOMAIN_PAUSED_SHUTTING_DOWN ? DomainState::Dying : DomainState::Paused;
    case VIR_DOMAIN_SHUTDOWN:
    case VIR_DOMAIN_SHUTOFF:
      return DomainState::Dying;
    case VIR_DOMAIN_CRASHED:
      return DomainState::Paused;
    default:
      return DomainState::Running;
  }
}

/// Whether a domain in that state may be one that has never executed. A guest that was moved here
/// or restored, or that met trouble, has.
bool mayBeNew(int state, int reason) {
  if (state != VIR_DOMAIN_PAUSED)
    return state == VIR_DOMAIN_SHUTDOWN || state == VIR_DOMAIN_SHUTOFF;
  return reason == VIR_DOMAIN_PAUSED_USER || reason == VIR_DOMAIN_PAUSED_STARTING_UP ||
         reason == VIR_DOMAIN_PAUSED_SHUTTING_DOWN || reason == VIR_DOMAIN_PAUSED_UNKNOWN;
}

struct Found {
  DomainHandle handle;
  DomainInfo info;
  bool active = true;  ///< False: a persistent definition that does not run.
  bool may_be_new = false;
  bool marked = false;  ///< Its claim says that it never ran.
};

/// State, and whether it runs at all; none when it has gone meanwhile. libvirt answers these
/// questions with priority workers, so that they do not wait behind creates.
Result<std::optional<Found>> describeState(VirtConnection& connection, DomainHandle handle) {
  Found found;
  int state = 0;
  int reason = 0;
  char uuid[VIR_UUID_STRING_BUFLEN] = {};
  const char* const name = virDomainGetName(handle.get());
  if (name == nullptr || virDomainGetUUIDString(handle.get(), uuid) != 0 ||
      virDomainGetState(handle.get(), &state, &reason, 0) != 0) {
    if (lastCode() == VIR_ERR_NO_DOMAIN) return std::optional<Found>();
    return failure(connection, "describe a domain");
  }
  if (state == VIR_DOMAIN_SHUTOFF) {
    const int persistent = virDomainIsPersistent(handle.get());
    if (persistent < 0 && lastCode() == VIR_ERR_NO_DOMAIN) return std::optional<Found>();
    if (persistent < 0) return failure(connection, "describe a domain");
    found.active = persistent == 0;
  }
  const std::optional<Uuid> parsed = Uuid::parse(uuid);
  if (parsed) found.info.vm = VmId{*parsed};
  found.info.name = name;
  found.info.state = stateOf(state, reason);
  found.may_be_new = mayBeNew(state, reason);
  found.handle = std::move(handle);
  return std::optional<Found>(std::move(found));
}

/// Size and claim, for which libvirt has no priority workers. False: it has gone meanwhile.
Result<bool> describeContent(VirtConnection& connection, Found& found) {
  virDomainInfo numbers{};
  if (virDomainGetInfo(found.handle.get(), &numbers) != 0) {
    if (lastCode() == VIR_ERR_NO_DOMAIN) return false;
    return failure(connection, "describe domain " + found.info.name);
  }
  found.info.memory = std::uint64_t{numbers.maxMem} * 1024;
  found.info.vcpus = numbers.nrVirtCpu;
  const Text metadata(virDomainGetMetadata(found.handle.get(), VIR_DOMAIN_METADATA_ELEMENT,
                                           kClaimNamespace, VIR_DOMAIN_AFFECT_CURRENT));
  if (metadata) {
    found.info.claim = readClaimElement(metadata.get(), found.info.vm);
    found.marked = found.info.claim && saysNeverRan(metadata.get());
    found.info.never_ran = found.marked && found.may_be_new && connection.changesMetadata();
  } else if (lastCode() == VIR_ERR_NO_DOMAIN) {
    return false;
  } else if (lastCode() != VIR_ERR_NO_DOMAIN_METADATA) {
    return failure(connection, "read the metadata of domain " + found.info.name);
  }
  return true;
}

Result<std::optional<Found>> describe(VirtConnection& connection, DomainHandle handle) {
  Result<std::optional<Found>> found = describeState(connection, std::move(handle));
  if (!found || !*found) return found;
  const Result<bool> there = describeContent(connection, **found);
  if (!there) return there.error();
  return *there ? std::move(found) : std::optional<Found>();
}

Result<std::optional<Found>> find(VirtConnection& connection, VmId vm) {
  DomainHandle handle(virDomainLookupByUUIDString(connection.raw(), vm.str().c_str()));
  if (!handle) {
    if (lastCode() == VIR_ERR_NO_DOMAIN) return std::optional<Found>();
    return failure(connection, "look up vm " + vm.str());
  }
  return describe(connection, std::move(handle));
}

/// The domain that `ref` names, alive. NotFound, Superseded, Foreign as in Hypervisor.
Result<Found> findOurs(VirtConnection& connection, const AttemptRef& ref) {
  Result<std::optional<Found>> found = find(connection, ref.vm);
  if (!found) return found.error();
  if (!*found || !(*found)->active) {
    return Error(ErrorClass::NotFound, "vm " + ref.vm.str() + " has no domain on this host");
  }
  const Result<void> ours = checkClaim((*found)->info, ref);
  if (!ours) return ours.error();
  return std::move(**found);
}

/// Waits until no domain of that UUID is active. False: it still is.
Result<bool> waitGone(VirtConnection& connection, VmId vm) {
  for (int i = 0; i < kGonePolls; ++i) {
    const Result<std::optional<Found>> found = find(connection, vm);
    if (!found) return found.error();
    if (!*found || !(*found)->active) return true;
    std::this_thread::sleep_for(kGonePoll);
  }
  return false;
}

std::string vmText(const CreateOrder& order) {
  return "vm " + order.name + " (" + order.claim.ref.vm.str() + ")";
}

/// What an existing domain with our UUID means for a create; no value: nothing in the way.
Result<std::optional<DomainInfo>> judgeExisting(VirtConnection& connection,
                                                const CreateOrder& order) {
  Result<std::optional<Found>> found = find(connection, order.claim.ref.vm);
  if (!found) return found.error();
  if (!*found) return std::optional<DomainInfo>();
  const DomainInfo& info = (*found)->info;
  if (!(*found)->active) {
    return Error(ErrorClass::Foreign,
                 vmText(order) +
                     " is defined persistently on this host outside our control: "
                     "remove the definition with 'virsh undefine'");
  }
  if (info.claim && info.claim->host != order.claim.host) {
    return Error(ErrorClass::Foreign, vmText(order) + " runs here under a claim of host " +
                                          info.claim->host + ", outside our control");
  }
  const Result<void> ours = checkClaim(info, order.claim.ref);
  if (!ours) return ours.error();
  if (info.state != DomainState::Dying) return std::optional<DomainInfo>(info);
  const Result<bool> gone = waitGone(connection, info.vm);
  if (!gone) return gone.error();
  if (*gone) return std::optional<DomainInfo>();
  return Error(ErrorClass::Busy, vmText(order) + " is still being taken down on this host");
}

/// Foreign when our name belongs to another UUID.
Result<void> checkName(VirtConnection& connection, const CreateOrder& order) {
  const DomainHandle other(virDomainLookupByName(connection.raw(), order.name.c_str()));
  if (!other) {
    if (lastCode() == VIR_ERR_NO_DOMAIN) return {};
    return failure(connection, "look up domain " + order.name);
  }
  char uuid[VIR_UUID_STRING_BUFLEN] = {};
  virDomainGetUUIDString(other.get(), uuid);
  if (order.claim.ref.vm.str() == uuid) return {};
  return Error(ErrorClass::Foreign, vmText(order) +
                                        " cannot start here: its name belongs to "
                                        "another domain of this host, " +
                                        uuid);
}

Error notSent(Error error) {
  if (error.error_class == ErrorClass::UnknownOutcome) {
    error.error_class = ErrorClass::HostNotReady;
  }
  return error;
}

/// After libvirt refused a create: says so only once it is certain that nothing of it is left.
Result<DomainInfo> afterRefusal(VirtConnection& connection, const CreateOrder& order,
                                Error refusal) {
  Result<std::optional<DomainInfo>> existing = judgeExisting(connection, order);
  if (!existing && existing.error().error_class == ErrorClass::UnknownOutcome) {
    return withContext(existing.error(), refusal.message + "; then");
  }
  if (!existing) return existing.error();
  // An earlier call of the same attempt was faster than this one.
  if (*existing) return **existing;
  const Result<void> name = checkName(connection, order);
  if (!name && name.error().error_class == ErrorClass::Foreign) return name.error();
  const ErrorClass kind = refusal.error_class;
  if (kind != ErrorClass::Invalid && kind != ErrorClass::Dependency) {
    refusal.error_class = ErrorClass::HostRejected;
  }
  return refusal;
}

/// From now on it counts as a guest that may have run.
Result<void> unmark(VirtConnection& connection, const Found& found) {
  const std::string element = claimElementOfGuest(*found.info.claim);
  if (virDomainSetMetadata(found.handle.get(), VIR_DOMAIN_METADATA_ELEMENT, element.c_str(),
                           kClaimPrefix, kClaimNamespace, VIR_DOMAIN_AFFECT_CURRENT) == 0) {
    return {};
  }
  if (lastCode() == VIR_ERR_NO_DOMAIN) {
    return Error(ErrorClass::NotFound, "vm " + found.info.name + " has vanished");
  }
  return failure(connection, "mark vm " + found.info.name + " as one that runs");
}

}  // namespace

Result<void> checkClaim(const DomainInfo& found, const AttemptRef& ref) {
  if (!found.claim) {
    return Error(ErrorClass::Foreign, "vm " + ref.vm.str() + " runs here as domain " + found.name +
                                          " outside our control");
  }
  if (found.claim->ref == ref) return {};
  return Error(ErrorClass::Superseded,
               "vm " + ref.vm.str() + " runs here under attempt " + found.claim->ref.attempt.str() +
                   " of epoch " + std::to_string(found.claim->ref.epoch.value) + ", not attempt " +
                   ref.attempt.str() + " of epoch " + std::to_string(ref.epoch.value));
}

Result<void> callPing(VirtConnection& connection) {
  if (virConnectNumOfDomains(connection.raw()) < 0) return failure(connection, "count domains");
  return {};
}

Result<std::string> callHostUuid(VirtConnection& connection) {
  const Text capabilities(virConnectGetCapabilities(connection.raw()));
  if (!capabilities) return failure(connection, "tell its capabilities");
  return hostUuidOf(capabilities.get());
}

Result<std::vector<DomainInfo>> callList(VirtConnection& connection) {
  virDomainPtr* raw = nullptr;
  const int count = virConnectListAllDomains(connection.raw(), &raw, 0);
  if (count < 0) return failure(connection, "list its domains");
  std::vector<DomainHandle> handles;
  for (int i = 0; i < count; ++i) handles.emplace_back(raw[i]);
  std::free(raw);
  KnownDomains known;
  std::vector<DomainInfo> domains;
  domains.reserve(handles.size());
  for (DomainHandle& handle : handles) {
    Result<std::optional<Found>> found = describeState(connection, std::move(handle));
    if (!found) return found.error();
    if (!*found || !(*found)->active) continue;
    DomainInfo& info = (*found)->info;
    // An incarnation's size and claim stay as they are once it may have run; they are asked for
    // once.
    const KnownDomains::Key key{info.vm, virDomainGetID((*found)->handle.get())};
    if (!connection.known().recall(key, info)) {
      const Result<bool> there = describeContent(connection, **found);
      if (!there) return there.error();
      if (!*there) continue;
    }
    if (!(*found)->marked) known.remember(key, info);
    domains.push_back(std::move(info));
  }
  connection.known().replaceBy(std::move(known));
  return domains;
}

Result<std::optional<DomainInfo>> callLookUp(VirtConnection& connection, VmId vm) {
  Result<std::optional<Found>> found = find(connection, vm);
  if (!found) return found.error();
  if (!*found || !(*found)->active) return std::optional<DomainInfo>();
  return std::optional<DomainInfo>(std::move((*found)->info));
}

Result<DomainInfo> callCreatePaused(VirtConnection& connection, const CreateOrder& order) {
  const Result<std::optional<DomainInfo>> existing = judgeExisting(connection, order);
  if (!existing) return notSent(existing.error());
  if (*existing) return **existing;

  unsigned flags = 0;
  if (order.validate) flags |= VIR_DOMAIN_START_VALIDATE;
  if (connection.startsPaused()) flags |= VIR_DOMAIN_START_PAUSED;
  const DomainHandle handle(virDomainCreateXML(connection.raw(), order.xml.c_str(), flags));
  if (!handle) {
    Error refusal = failure(connection, "create " + vmText(order));
    if (refusal.error_class == ErrorClass::UnknownOutcome) return refusal;
    return afterRefusal(connection, order, std::move(refusal));
  }
  if (!connection.startsPaused() && virDomainSuspend(handle.get()) != 0) {
    Error unpaused = failure(connection, "suspend the new " + vmText(order));
    const Result<void> ended = callDestroy(connection, order.claim.ref);
    return ended ? unpaused : ended.error();
  }
  DomainInfo created;
  created.vm = order.claim.ref.vm;
  created.name = order.name;
  created.claim = order.claim;
  created.state = DomainState::Paused;
  created.memory = order.memory;
  created.vcpus = order.vcpus;
  created.never_ran = connection.changesMetadata();
  return created;
}

Result<void> callResume(VirtConnection& connection, const AttemptRef& ref) {
  const Result<Found> found = findOurs(connection, ref);
  if (!found) return found.error();
  if (found->info.state == DomainState::Starting) {
    return Error(ErrorClass::Busy, "vm " + ref.vm.str() + " is still being built");
  }
  if (found->marked && connection.changesMetadata()) {
    const Result<void> unmarked = unmark(connection, *found);
    if (!unmarked) return unmarked.error();
  }
  if (found->info.state == DomainState::Running) return {};
  if (virDomainResume(found->handle.get()) == 0) return {};
  Error error = failure(connection, "resume vm " + ref.vm.str());
  if (error.error_class == ErrorClass::UnknownOutcome) return error;
  const Result<Found> now = findOurs(connection, ref);
  if (now && now->info.state == DomainState::Running) return {};
  return error;
}

Result<void> callShutDown(VirtConnection& connection, const AttemptRef& ref) {
  const Result<Found> found = findOurs(connection, ref);
  if (!found) return found.error();
  if (virDomainShutdown(found->handle.get()) == 0) return {};
  return failure(connection, "shut down vm " + ref.vm.str());
}

Result<void> callDestroy(VirtConnection& connection, const AttemptRef& ref) {
  const Result<Found> found = findOurs(connection, ref);
  if (!found && found.error().error_class == ErrorClass::NotFound) return {};
  if (!found) return found.error();
  std::string reason = "libvirt accepted the destroy";
  if (virDomainDestroy(found->handle.get()) != 0) {
    const Error error = failure(connection, "destroy vm " + ref.vm.str());
    if (error.error_class == ErrorClass::UnknownOutcome) return error;
    reason = error.message;
  }
  const Result<bool> gone = waitGone(connection, ref.vm);
  if (!gone) return gone.error();
  if (*gone) return {};
  return Error(ErrorClass::HostRejected,
               "vm " + ref.vm.str() + " is still there 20 s after its destroy: " + reason);
}

Result<Duration> callBarrier(VirtConnection& connection) {
  // Without an <os> no driver can start it.
  constexpr const char* kRefused = "<domain type='qemu'><name>vmsrunner-barrier</name></domain>";
  const unsigned flags = connection.startsPaused() ? unsigned{VIR_DOMAIN_START_PAUSED} : 0U;
  Duration took{};
  // The first waits in the queue; the second shows how long a create takes to be looked at.
  for (int i = 0; i < 2; ++i) {
    const auto began = std::chrono::steady_clock::now();
    const DomainHandle handle(virDomainCreateXML(connection.raw(), kRefused, flags));
    took = std::chrono::steady_clock::now() - began;
    if (handle) {
      virDomainDestroy(handle.get());
      continue;
    }
    const Error refusal = failure(connection, "answer");
    if (refusal.error_class == ErrorClass::UnknownOutcome) return refusal;
  }
  return took;
}

}  // namespace vms::hostagent
