#include "runner/store.h"

namespace vms::runner {

std::string_view outcomeOf(const AttemptRecord& attempt) noexcept {
  if (attempt.running_at) return "succeeded";
  if (!isFinal(attempt.state)) return {};
  if (attempt.error_class) {
    const bool withdrawn = *attempt.error_class == ErrorClass::Cancelled ||
                           *attempt.error_class == ErrorClass::IntendedStop;
    return withdrawn ? "cancelled" : "failed";
  }
  // Without a reason of its own, what was dropped, refused or undone was withdrawn by us or by its
  // requester; what is gone with a proof alone was lost.
  const bool lost = attempt.state == AttemptState::Ended && !attempt.cancel_wished;
  return lost ? "failed" : "cancelled";
}

}  // namespace vms::runner
