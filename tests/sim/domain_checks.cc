#include <fmt/format.h>

#include "tests/sim/checkers.h"

/// Rules about what really runs.
namespace vms::sim {

namespace {

std::string_view nameOf(DomainChange change) {
  switch (change) {
    case DomainChange::Appeared:
      return "begins";
    case DomainChange::Launched:
      return "is built";
    case DomainChange::Resumed:
      return "runs";
    case DomainChange::Gone:
      return "is gone";
    case DomainChange::Arrived:
      return "has moved here";
  }
  return "?";
}

}  // namespace

void Checkers::domainChanged(const SimHost& host, DomainChange change, const SimDomain& domain) {
  const std::string epoch =
      domain.info.claim ? " epoch " + std::to_string(domain.info.claim->ref.epoch.value) : "";
  world_.tell(host.id() + ": " + domain.info.name + epoch + " " + std::string(nameOf(change)));
  if (!domain.info.claim) return;
  if (change == DomainChange::Appeared) domainAppeared(host, domain);
  if (change == DomainChange::Launched) launched_.insert(domain.info.claim->ref.attempt);
  if (change == DomainChange::Resumed) domainResumed(host, domain);
  if (change == DomainChange::Arrived) moved_.insert(domain.info.claim->ref.attempt);
  if (change == DomainChange::Gone) domainGone(host, domain);
}

void Checkers::domainGone(const SimHost& host, const SimDomain& domain) {
  const AttemptRef& ref = domain.info.claim->ref;
  const bool destroyed = host.realEnd(ref.vm) == hostagent::StopReason::Destroyed;
  if (!destroyed || !domain.has_executed) return;
  // Only an agent destroys, and only what it is asked to end while that is open. What ran under a
  // claim that is spent came here by somebody's hand.
  const JournalDisk& journal = *findHost(host.id())->journal;
  const hostagent::ClaimRecord* const claim = journal.find(ref.attempt);
  const bool spent = claim != nullptr ? claim->phase == hostagent::ClaimPhase::Gone
                                      : journal.floorOf(ref.vm) >= ref.epoch;
  if (spent) {
    fail("destroyed_alive",
         describe(ref) + " had run, and was destroyed on " + host.id() + " under a spent claim");
  }
}

void Checkers::domainAppeared(const SimHost& host, const SimDomain& domain) {
  const WatchedHost* const watched = findHost(host.id());
  const hostagent::ClaimRecord* const claim =
      watched->journal->find(domain.info.claim->ref.attempt);
  // A late create of a spent claim may appear, paused; one that was never claimed may not (S2).
  if (claim == nullptr && watched->journal->wipes() == 0 &&
      watched->journal->floorOf(domain.info.vm) < domain.info.claim->ref.epoch) {
    fail("touched_before_claimed",
         host.id() + " builds " + describe(domain.info.claim->ref) + " without a durable claim");
  }
  std::uint64_t used = 0;
  for (const auto& [vm, other] : host.domains()) {
    if (!other.info.claim) continue;
    // A late one of a spent claim never executes and is about to be destroyed.
    const auto* const row = watched->journal->find(other.info.claim->ref.attempt);
    const bool spent = row == nullptr || row->phase == hostagent::ClaimPhase::Gone;
    if (!spent) used += other.info.memory;
  }
  if (used > host.memory()) {
    fail("host_overfilled", host.id() + " holds domains of " + std::to_string(used >> 20U) +
                                " MiB and has " + std::to_string(host.memory() >> 20U));
  }
}

bool Checkers::leftUnseen(const Claim& claim) const {
  const WatchedHost* const from = findHost(claim.host);
  return moved_.count(claim.ref.attempt) > 0 && from != nullptr &&
         from->host->endForgotten(claim.ref.vm);
}

void Checkers::domainResumed(const SimHost& host, const SimDomain& domain) {
  ++starts_;
  const AttemptRef& ref = domain.info.claim->ref;
  resumed_.insert(ref.attempt);
  const std::string what = describe(ref) + " on " + host.id();

  for (const auto& [id, other] : hosts_) {
    const auto found = other.host->domains().find(domain.info.vm);
    if (found == other.host->domains().end() || id == host.id()) continue;
    if (found->second.has_executed && found->second.info.claim &&
        !leftUnseen(*found->second.info.claim)) {
      fail("never_twice", fmt::format("{} runs while {} runs on {}", what,
                                      describe(found->second.info.claim->ref), id));
    }
  }

  const runner::AttemptRecord* const durable = attempt(ref.attempt);
  if (durable == nullptr && forgotten_.count(ref.attempt) > 0) return;
  if (durable == nullptr || durable->ref != ref || durable->host != host.id()) {
    fail("started_unknown_attempt", what + " was started and the engine never stored that attempt");
    return;
  }
  if (isFinal(durable->state)) {
    fail("started_after_end", what + " was started after the engine recorded its attempt as " +
                                  std::string(vms::nameOf(durable->state)));
  }
  for (const AttemptId& id : attempts_of_[ref.vm]) {
    const runner::AttemptRecord* const other = attempt(id);
    if (other != nullptr && other->ref.epoch > ref.epoch) {
      fail("superseded_epoch",
           what + " was started while epoch " + std::to_string(other->ref.epoch.value) + " exists");
    }
  }
  // A lost journal says nothing; that it had allowed this was seen when the call left.
  const hostagent::ClaimRecord* const claim = findHost(host.id())->journal->find(ref.attempt);
  if (claim != nullptr && claim->phase != hostagent::ClaimPhase::Published) {
    fail("resumed_without_claim", what + " runs though its journal says that it is over");
  }
}

void Checkers::createCalled(const WatchedHost& host, const AttemptRef& ref) {
  const hostagent::ClaimRecord* const claim = host.journal->find(ref.attempt);
  if (claim != nullptr && claim->phase == hostagent::ClaimPhase::Building) return;
  fail("built_before_journaled",
       host.host->id() + " creates " + describe(ref) + " though its journal " +
           (claim == nullptr ? "says nothing" : "does not say that it is being built"));
}

void Checkers::resumeCalled(const WatchedHost& host, const AttemptRef& ref) {
  const hostagent::ClaimRecord* const claim = host.journal->find(ref.attempt);
  if (claim != nullptr && claim->phase == hostagent::ClaimPhase::Published) return;
  fail("resumed_without_claim", host.host->id() + " resumes " + describe(ref) +
                                    " though its journal says " +
                                    (claim == nullptr ? "nothing" : "that it is not complete"));
}

}  // namespace vms::sim
