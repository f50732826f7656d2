#include "hostagent/late_domains.h"

#include "hostagent/core.h"

namespace vms::hostagent {
namespace {

/// Whether the guest left, or may have left, with its memory.
bool mayHaveLeft(const Attempt& attempt) {
  const std::string& reason = attempt.record.stop_reason;
  return reason == nameOf(StopReason::Migrated) || reason == nameOf(StopReason::Saved) ||
         reason == nameOf(StopReason::Unwatched);
}

}  // namespace

bool cameLate(const AgentCore& core, const Attempt* attempt, const DomainInfo& info) {
  if (!info.never_ran) return false;
  // No create outlives the boot of the machine that carries it out.
  const bool local = core.identity && core.identity->local;
  if (local && info.claim->boot_id != core.options.boot_id) return false;
  // Wanted paused, it may have been all that was wanted, and have left as it was.
  if (!info.claim->want_paused) return true;
  return attempt == nullptr ? info.claim->ref.epoch <= core.ledger.floorOf(info.vm)
                            : !mayHaveLeft(*attempt);
}

bool hasReplaced(const Attempt& attempt, const DomainInfo& info) {
  if (!info.never_ran || info.state != DomainState::Paused) return false;
  const ClaimRecord& record = attempt.record;
  if (record.running_at && !record.claim.want_paused) return true;
  return attempt.stopped && !attempt.paused;
}

}  // namespace vms::hostagent
