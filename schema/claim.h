#pragma once

#include "schema/ids.h"

namespace vms {

/// Names one try to start one VM; what stop, cancel, resume and destroy must carry (S12).
struct AttemptRef {
  AttemptId attempt;
  VmId vm;
  Epoch epoch;

  auto operator<=>(const AttemptRef&) const = default;
};

/// Durable permission for one host, in one of its boots, to start one VM in one epoch (S11). Lies
/// in the agent's journal before the hypervisor is touched, and in the domain's own metadata.
struct Claim {
  AttemptRef ref;
  HostId host;
  std::string boot_id;
  Term term;
  bool want_paused = false;  ///< Wanted end state (S27).

  bool operator==(const Claim&) const = default;
};

}  // namespace vms
