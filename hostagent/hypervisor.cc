#include "hostagent/hypervisor.h"

#include <array>

namespace vms::hostagent {

std::string_view nameOf(StopReason reason) noexcept {
  constexpr std::array<std::string_view, 7> kNames = {"shutdown", "destroyed", "crashed",  "failed",
                                                      "saved",    "migrated",  "unwatched"};
  return kNames[static_cast<std::size_t>(reason)];
}

}  // namespace vms::hostagent
