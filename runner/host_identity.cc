#include "runner/host_identity.h"

#include <algorithm>
#include <cstdint>

namespace vms::runner {

Duration uptimeOf(const proto::Hello& hello) {
  constexpr std::uint64_t kMostMs = std::uint64_t{1} << 40;
  return milliseconds(
      static_cast<std::int64_t>(std::min<std::uint64_t>(hello.uptime_ms(), kMostMs)));
}

Result<BootVerdict> judgeBoot(const Host& host, const proto::Hello& hello,
                              const EngineOptions& options, const Now& now) {
  const HostRecord& record = host.record;
  if (record.hardware_uuid.empty()) return BootVerdict::Enrolled;
  if (record.hardware_uuid != hello.hardware_uuid()) {
    return Error{ErrorClass::Forbidden,
                 "an agent with this host's certificate says its hardware is " +
                     hello.hardware_uuid() + ", but " + record.hardware_uuid +
                     " is enrolled; is the certificate used on two machines?"};
  }
  if (record.boot_id == hello.boot_id()) return BootVerdict::SameBoot;
  const auto& retired = record.retired_boots;
  if (std::find(retired.begin(), retired.end(), hello.boot_id()) != retired.end()) {
    return Error{ErrorClass::Forbidden, "an agent came with boot " + hello.boot_id() +
                                            ", which ended before; is the machine a clone? If it "
                                            "is the right one, reboot it"};
  }
  if (host.vouched_boot == hello.boot_id()) return BootVerdict::Rebooted;
  // The new boot must have begun after the last word of the old one. What this engine did not hear
  // itself is known only to the granularity of the stored time.
  const Duration silence = host.silence_is_exact
                               ? now.mono - host.last_word
                               : now.wall - record.last_seen - options.last_seen_interval;
  if (uptimeOf(hello) >= silence) {
    return Error{ErrorClass::Forbidden, "an agent came with boot " + hello.boot_id() + ", up for " +
                                            formatDuration(uptimeOf(hello)) + ", while boot " +
                                            record.boot_id + " was heard " +
                                            formatDuration(silence) +
                                            " ago; two machines use this host's identity"};
  }
  return BootVerdict::Rebooted;
}

bool speaksForHypervisor(const HostRecord& record, const proto::HypervisorIdentity& identity) {
  return identity.local() && record.hypervisor_uri == identity.uri() &&
         record.hypervisor_host_uuid == identity.host_uuid();
}

}  // namespace vms::runner
