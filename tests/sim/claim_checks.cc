#include "tests/sim/checkers.h"

/// Rules about what agents make durable: an epoch is claimed once, here, and never forgotten.
namespace vms::sim {

using hostagent::ClaimPhase;
using hostagent::ClaimRecord;

void Checkers::journaled(const WatchedHost& host,
                         const std::vector<hostagent::JournalChange>& changes) {
  const HostId& id = host.host->id();
  for (const hostagent::JournalChange& change : changes) {
    if (const auto* put = std::get_if<hostagent::PutClaim>(&change)) {
      claimJournaled(host, put->record);
    } else if (const auto* marks = std::get_if<hostagent::PutMarks>(&change)) {
      const hostagent::JournalMarks before = std::exchange(marks_[id], marks->marks);
      if (before.store_id == marks->marks.store_id && marks->marks.term < before.term) {
        fail("term_went_back", id + " serves term " + std::to_string(marks->marks.term) +
                                   " after term " + std::to_string(before.term));
      }
    } else if (const auto* gone = std::get_if<hostagent::DropFloor>(&change)) {
      for (const AttemptId& attempt_id : attempts_of_[gone->vm]) {
        const runner::AttemptRecord* const row = attempt(attempt_id);
        if (row == nullptr || row->host != host.name) continue;
        const auto ended = ended_commit_.find(attempt_id);
        if (ended != ended_commit_.end() && ended->second <= watermark_) continue;
        fail("floor_forgotten", id + " forgets the epochs of " + describe(row->ref) +
                                    " that the engine may still ask about");
      }
    }
  }
  for (const hostagent::JournalChange& change : changes) {
    const auto* put = std::get_if<hostagent::PutFloor>(&change);
    if (put == nullptr) continue;
    Epoch& floor = floors_[id][put->floor.vm];
    floor = std::max(floor, put->floor.epoch);
  }
}

void Checkers::claimJournaled(const WatchedHost& host, const ClaimRecord& claim) {
  const HostId& id = host.host->id();
  const AttemptRef& ref = claim.claim.ref;
  if (!claimed_[id].insert(ref.attempt).second) return;
  const std::string what = id + " claims " + describe(ref);
  if (claim.claim.host != host.name) {
    fail("claim_of_another_host", what + ", whose claim names " + claim.claim.host);
  }
  if (ref.epoch <= floors_[id][ref.vm]) {
    fail("epoch_claimed_again",
         what + " though epoch " + std::to_string(floors_[id][ref.vm].value) + " is spent there");
  }
  // What it finds without knowing it may be of an earlier term.
  const bool adopted = claim.phase == ClaimPhase::Published;
  if (!adopted && claim.claim.term.value < marks_[id].term) {
    fail("superseded_term", what + " for term " + std::to_string(claim.claim.term.value) +
                                " in term " + std::to_string(marks_[id].term));
  }
}

}  // namespace vms::sim
