#pragma once

#include <string>
#include <string_view>

#include "hostagent/hypervisor.h"

namespace vms::hostagent {

/// Why the last domain in a libvirt domain log ended (S20): Unwatched unless the log's last start
/// was of `vm` and its end is recorded behind it. `tail` may begin in the middle of a line.
StopReason stopReasonInLog(std::string_view tail, VmId vm);

/// The same for DIRECTORY/NAME.log; Unwatched when it cannot be read. Blocking.
StopReason readStopReason(const std::string& directory, const std::string& name, VmId vm);

}  // namespace vms::hostagent
