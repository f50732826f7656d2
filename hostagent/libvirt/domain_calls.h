#pragma once

#include <optional>
#include <string>
#include <vector>

#include "hostagent/hypervisor.h"
#include "hostagent/libvirt/virt_connection.h"

/// The operations on domains, in the shape of libvirt: blocking, on a thread of ours.
/// UnknownOutcome always means that the connection broke under the call (or that libvirt gave no
/// clear answer).
namespace vms::hostagent {

struct CreateOrder {
  Claim claim;
  std::string name;
  std::string xml;  ///< With the claim in it.
  std::uint64_t memory = 0;
  std::uint32_t vcpus = 0;
  bool validate = true;  ///< Against libvirt's schema: about 8 ms of libvirtd's time.
};

/// A sign of life from the driver behind the daemon.
Result<void> callPing(VirtConnection& connection);
/// The host's UUID from the capabilities; empty when the driver has none.
Result<std::string> callHostUuid(VirtConnection& connection);

Result<std::vector<DomainInfo>> callList(VirtConnection& connection);
/// Inactive persistent domains count as absent: they run nowhere.
Result<std::optional<DomainInfo>> callLookUp(VirtConnection& connection, VmId vm);

/// As Hypervisor::createPaused, but UnknownOutcome right after the connection broke, and a domain
/// of the same attempt may be returned in state Starting. HostNotReady: nothing was sent.
Result<DomainInfo> callCreatePaused(VirtConnection& connection, const CreateOrder& order);
Result<void> callResume(VirtConnection& connection, const AttemptRef& ref);
Result<void> callShutDown(VirtConnection& connection, const AttemptRef& ref);
Result<void> callDestroy(VirtConnection& connection, const AttemptRef& ref);

/// Sends a create that libvirt must refuse and waits for the refusal; returns how long it took.
/// It passes the daemon's queue like any other create (docs/adr/0003-lost-libvirt-calls.md).
Result<Duration> callBarrier(VirtConnection& connection);

/// Whether a domain that carries `found` is the attempt that `ref` names; else Superseded or
/// Foreign.
Result<void> checkClaim(const DomainInfo& found, const AttemptRef& ref);

}  // namespace vms::hostagent
