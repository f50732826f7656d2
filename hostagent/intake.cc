#include "hostagent/intake.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hostagent/core.h"
#include "hostagent/flows/steps.h"
#include "hostagent/wire.h"
#include "schema/base/log.h"
#include "schema/frames.h"

namespace vms::hostagent {
namespace {

constexpr std::size_t kXmlBytesMax = 256u << 10U;
constexpr std::size_t kNameMax = 128;
constexpr std::uint32_t kPriorityMax = 100;
constexpr std::size_t kRefusalsMax = 256;

struct Decision {
  AttemptRef ref;
  std::optional<Error> refused;
  bool fresh = false;  ///< Claimed by this message.
};

bool isValidName(const std::string& name) {
  if (name.empty() || name.size() > kNameMax) return false;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '/' || byte < 0x20 || byte == 0x7f) return false;
  }
  return true;
}

std::optional<Error> checkItem(const proto::CreateItem& item) {
  const auto invalid = [&](const std::string& what) {
    return Error(ErrorClass::Invalid, "create item '" + item.name() + "': " + what);
  };
  if (!isValidName(item.name())) {
    return invalid("a name has 1 to 128 characters, without '/' and control characters");
  }
  if (item.domain_xml().empty()) return invalid("the domain XML is empty");
  if (item.domain_xml().size() > kXmlBytesMax) return invalid("the domain XML exceeds 256 KiB");
  if (item.memory() == 0 || item.vcpus() == 0) return invalid("memory and vcpus must not be 0");
  return std::nullopt;
}

/// Why the item cannot be claimed now; its attempt is unknown here.
std::optional<Error> whyRefuse(AgentCore& core, const AttemptRef& ref,
                               const proto::CreateItem& item) {
  const Epoch floor = core.ledger.floorOf(ref.vm);
  if (ref.epoch <= floor) {
    return Error(ErrorClass::Superseded,
                 item.name() + ": epoch " + std::to_string(ref.epoch.value) +
                     " is spent on this host, which has seen " + std::to_string(floor.value));
  }
  if (const Attempt* const open = core.ledger.openOf(ref.vm)) {
    const bool runs = open->record.phase == ClaimPhase::Published;
    return Error(runs ? ErrorClass::AlreadyRunning : ErrorClass::Busy,
                 item.name() +
                     (runs ? " runs here under attempt " : " is being built as attempt ") +
                     open->ref().attempt.str());
  }
  if (core.readiness() != AgentReadiness::Ready) {
    return Error(ErrorClass::HostNotReady,
                 "host " + core.options.host + " takes no new work: " + core.notReadyReason());
  }
  if (std::optional<Error> invalid = checkItem(item)) return invalid;
  if (const auto holder = core.staging.holderOfName(item.name(), ref.vm)) {
    return Error(ErrorClass::HostRejected, "the name " + item.name() + " belongs to VM " +
                                               holder->vm.str() + " on host " + core.options.host);
  }
  if (core.credits() == 0 || core.seams.faults.strikes("agent.intake_full")) {
    return Error(ErrorClass::RateLimited,
                 "the intake of host " + core.options.host + " is full; follow its credits");
  }
  return std::nullopt;
}

void claim(AgentCore& core, const AttemptRef& ref, Term term, const proto::CreateItem& item) {
  ClaimRecord record;
  record.claim.ref = ref;
  record.claim.host = core.options.host;
  record.claim.boot_id = core.options.boot_id;
  record.claim.term = term;
  record.claim.want_paused = item.paused();
  record.name = item.name();
  record.xml = item.domain_xml();
  record.memory = item.memory();
  record.vcpus = item.vcpus();
  Attempt& attempt = core.ledger.add(std::move(record));
  core.ledger.stamp(attempt, PhaseStamp::Claimed);
  core.staging.reserve(ref, item.name(), item.memory(), item.vcpus());
  ++core.claims_pending;
}

Decision decide(AgentCore& core, const AttemptRef& ref, Term term, const proto::CreateItem& item) {
  Decision decision{ref, std::nullopt, false};
  if (core.ledger.find(ref.attempt) != nullptr) return decision;
  decision.refused = whyRefuse(core, ref, item);
  if (decision.refused) {
    core.ledger.spend(ref.vm, ref.epoch);
  } else {
    claim(core, ref, term, item);
    decision.fresh = true;
  }
  return decision;
}

LaneJob jobOf(const AttemptRef& ref, const proto::CreateItem& item) {
  return LaneJob{ref.attempt, std::min(item.priority(), kPriorityMax), item.memory()};
}

/// A claim that finds a slot of the lane free is built at once. Its own commit tells the journal
/// so, which saves the sync of another one before the hypervisor is touched.
void enterLane(AgentCore& core, const proto::BulkCreate& bulk,
               const std::vector<Decision>& decisions) {
  std::vector<LaneJob> fresh;
  for (std::size_t i = 0; i < decisions.size(); ++i) {
    if (!decisions[i].fresh) continue;
    fresh.push_back(jobOf(decisions[i].ref, bulk.items(static_cast<int>(i))));
  }
  for (const LaneJob& job : core.create_lane.enter(std::move(fresh))) {
    Attempt& attempt = *core.ledger.find(job.attempt);
    attempt.in_lane = true;
    decideBuild(core, attempt);
  }
}

/// The claims of this message did not become durable: they are taken back. Their epochs stay spent.
void takeBack(AgentCore& core, std::vector<Decision>& decisions, const Error& error) {
  for (Decision& decision : decisions) {
    if (!decision.fresh) continue;
    core.leaveCreateLane(*core.ledger.find(decision.ref.attempt));
    core.staging.forget(decision.ref.attempt);
    core.ledger.forget(decision.ref.attempt);
    decision.fresh = false;
  }
  for (Decision& decision : decisions) {
    if (decision.refused || core.ledger.find(decision.ref.attempt) != nullptr) continue;
    decision.refused = withContext(error, "host " + core.options.host + " cannot claim");
  }
}

/// The claims of this message are durable: what found no free slot waits for one.
void enqueue(AgentCore& core, const proto::BulkCreate& bulk,
             const std::vector<Decision>& decisions) {
  for (std::size_t i = 0; i < decisions.size(); ++i) {
    if (!decisions[i].fresh) continue;
    if (core.ledger.find(decisions[i].ref.attempt)->in_lane) continue;
    core.create_lane.push(jobOf(decisions[i].ref, bulk.items(static_cast<int>(i))));
  }
}

/// They are durable, and answered.
void start(AgentCore& core, const std::vector<Decision>& decisions) {
  for (const Decision& decision : decisions) {
    if (!decision.fresh || core.stopping) continue;
    Attempt& attempt = *core.ledger.find(decision.ref.attempt);
    if (attempt.in_lane) core.startCreate(attempt);
  }
  core.pumpCreates();
}

proto::Frame makeAccepted(const AgentCore& core, const proto::BulkCreate& bulk,
                          const std::vector<Decision>& decisions) {
  proto::Frame frame;
  proto::BulkAccepted& accepted = *frame.mutable_bulk_accepted();
  accepted.set_batch(bulk.batch());
  for (const Decision& decision : decisions) {
    proto::BulkAccepted::Item& item = *accepted.add_items();
    item.set_attempt(decision.ref.attempt.uuid.toBytes());
    if (!decision.refused) continue;
    item.set_error_class(std::string(nameOf(decision.refused->error_class)));
    item.set_error(decision.refused->message);
  }
  accepted.set_credits(static_cast<std::uint32_t>(core.credits()));
  return frame;
}

void tell(AgentCore& core, SessionNumber session, proto::Frame frame,
          const std::vector<Decision>& decisions) {
  core.outbox.answer(session, std::move(frame));
  for (const Decision& decision : decisions) {
    // A fresh claim stands where the answer says that it stands.
    if (!decision.refused && !decision.fresh) core.outbox.reportAsked(decision.ref.attempt);
  }
}

asio::awaitable<void> refuseLater(AgentCore& core, SessionNumber session, proto::Frame frame,
                                  std::vector<Decision> decisions) {
  co_await core.ledger.persist();
  --core.refusals_waiting;
  tell(core, session, std::move(frame), decisions);
}

/// Every id before anything is decided.
Result<std::vector<AttemptRef>> readRefs(AgentCore& core, const proto::BulkCreate& bulk) {
  const auto malformed = [](const std::string& what) {
    return Error(ErrorClass::Invalid, "malformed bulk create: " + what);
  };
  if (!idFromBytes<BatchId>(bulk.batch())) return malformed("the batch id is not 16 bytes");
  if (static_cast<std::size_t>(bulk.items_size()) > core.options.max_bulk_items) {
    return malformed(std::to_string(bulk.items_size()) + " items, at most " +
                     std::to_string(core.options.max_bulk_items) + " are allowed");
  }
  std::vector<AttemptRef> refs;
  for (const proto::CreateItem& item : bulk.items()) {
    const auto attempt = idFromBytes<AttemptId>(item.attempt());
    const auto vm = idFromBytes<VmId>(item.vm());
    if (!attempt || !vm || item.epoch() == 0) {
      return malformed("an item without a valid attempt, VM or epoch");
    }
    const AttemptRef ref{*attempt, *vm, Epoch{item.epoch()}};
    const Attempt* const known = core.ledger.find(ref.attempt);
    if (known != nullptr && known->ref() != ref) {
      return malformed("attempt " + ref.attempt.str() + " names another VM or epoch than before");
    }
    refs.push_back(ref);
  }
  return refs;
}

}  // namespace

asio::awaitable<Result<void>> takeBulkCreate(AgentCore& core, SessionNumber session, Term term,
                                             proto::BulkCreate bulk) {
  const Result<std::vector<AttemptRef>> refs = readRefs(core, bulk);
  if (!refs) co_return refs.error();
  std::vector<Decision> decisions;
  for (int i = 0; i < bulk.items_size(); ++i) {
    decisions.push_back(decide(core, (*refs)[static_cast<std::size_t>(i)], term, bulk.items(i)));
  }
  enterLane(core, bulk, decisions);
  const Result<void> flushed = co_await core.ledger.flush();
  core.claims_pending = 0;
  proto::Frame frame;
  if (flushed) {
    enqueue(core, bulk, decisions);
    frame = makeAccepted(core, bulk, decisions);
    tell(core, session, std::move(frame), decisions);
    start(core, decisions);
    co_return boost::system::in_place_value;
  }

  log::error("a bulk create of {} items is refused: {}", decisions.size(), flushed.error().message);
  takeBack(core, decisions, flushed.error());
  if (core.refusals_waiting >= kRefusalsMax) {
    co_return Error(ErrorClass::StoreFull, "the journal is full, and " +
                                               std::to_string(core.refusals_waiting) +
                                               " refused messages wait for room");
  }
  // Not even a refusal may be told before its epochs are durably spent (S1).
  ++core.refusals_waiting;
  frame = makeAccepted(core, bulk, decisions);
  core.tasks.spawn("refuse",
                   [&core, session, frame = std::move(frame), decisions = std::move(decisions)] {
                     return refuseLater(core, session, frame, decisions);
                   });
  co_return boost::system::in_place_value;
}

}  // namespace vms::hostagent
