#include "hostagent/session.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "hostagent/commands.h"
#include "hostagent/core.h"
#include "hostagent/intake.h"
#include "hostagent/wire.h"
#include "schema/base/log.h"
#include "schema/frames.h"

namespace vms::hostagent {
namespace {

/// An engine that asks for a longer pause is asked again after this.
constexpr Duration kRetryAfterMax = seconds(60);
constexpr Duration kSilenceMargin = seconds(1);

struct SessionTerms {
  SessionNumber session = 0;
  Term term;
};

/// How a conversation ended.
struct Ending {
  std::string reason;
  bool welcomed = false;
  Duration retry_after{};

  explicit Ending(std::string reason_in) : reason(std::move(reason_in)) {}
};

proto::Frame makeHello(const AgentCore& core) {
  proto::Frame frame;
  proto::Hello& hello = *frame.mutable_hello();
  hello.set_protocol_min(kProtocolMin);
  hello.set_protocol_max(kProtocolMax);
  hello.set_host(core.options.host);
  hello.set_agent_version(core.options.agent_version);
  hello.set_hardware_uuid(core.options.hardware_uuid);
  hello.set_boot_id(core.options.boot_id);
  const Duration uptime =
      core.options.uptime ? core.options.uptime() : core.seams.clock.now().since_start;
  hello.set_uptime_ms(static_cast<std::uint64_t>(std::max<std::int64_t>(0, toMs(uptime))));
  hello.set_instance(core.instance);
  switch (core.readiness()) {
    case AgentReadiness::Ready:
      hello.set_readiness(proto::READY);
      break;
    case AgentReadiness::Recovering:
      hello.set_readiness(proto::RECOVERING);
      break;
    case AgentReadiness::HypervisorAway:
      hello.set_readiness(proto::HYPERVISOR_AWAY);
      break;
    case AgentReadiness::Stopping:
      hello.set_readiness(proto::STOPPING);
      break;
  }
  hello.mutable_capacity()->set_cpus(core.options.capacity.cpus);
  hello.mutable_capacity()->set_memory(core.options.capacity.memory);
  writeMarks(core.ledger.marks(), *hello.mutable_marks());
  if (core.identity) writeIdentity(*core.identity, *hello.mutable_hypervisor());
  hello.set_credits(static_cast<std::uint32_t>(core.credits()));
  return frame;
}

StartId startOf(const proto::StoreMarks& marks) {
  return idFromBytes<StartId>(marks.start()).value_or(StartId{});
}

/// Why this engine must not be served; empty when it may.
std::string whyNotServe(const AgentCore& core, const proto::Frame& frame) {
  const proto::Welcome& welcome = frame.welcome();
  if (welcome.protocol() < kProtocolMin || welcome.protocol() > kProtocolMax) {
    return "the engine chose protocol " + std::to_string(welcome.protocol()) +
           ", this agent speaks " + std::to_string(kProtocolMin) + " to " +
           std::to_string(kProtocolMax) + "; upgrade the older of both";
  }
  if (welcome.session() == 0) return "malformed welcome: session 0";
  if (!idFromBytes<StoreId>(welcome.marks().store_id())) {
    return "malformed welcome: the store id is not 16 bytes";
  }
  const std::uint64_t term = welcome.marks().term();
  if (term == 0 || frame.term() != term) return "malformed welcome: its terms disagree";
  if (term < core.ledger.marks().term) {
    return "the engine's term " + std::to_string(term) + " is lower than " +
           std::to_string(core.ledger.marks().term) +
           ", which this host has met: an older engine, or a restored database; stop that engine, "
           "or bring its term above";
  }
  // The engine has been told, and takes a higher term.
  if (term == core.ledger.marks().term &&
      differ(startOf(welcome.marks()), core.ledger.marks().start)) {
    return "this host has met another engine of term " + std::to_string(term) +
           ": two engines have started on copies of one database; stop the one that is wrong";
  }
  return {};
}

JournalMarks merge(JournalMarks marks, const proto::StoreMarks& met) {
  const bool same_store = marks.store_id == met.store_id();
  marks.commit = same_store ? std::max(marks.commit, met.commit()) : met.commit();
  marks.store_id = met.store_id();
  marks.term = met.term();
  marks.start = startOf(met);
  return marks;
}

/// `marks` with the engine that `before` had met; what they say of the machine stays.
JournalMarks withEngineOf(JournalMarks marks, const JournalMarks& before) {
  marks.store_id = before.store_id;
  marks.term = before.term;
  marks.start = before.start;
  marks.commit = before.commit;
  return marks;
}

void noteCommit(AgentCore& core, std::uint64_t commit) {
  JournalMarks marks = core.ledger.marks();
  if (commit <= marks.commit) return;
  marks.commit = commit;
  core.ledger.setMarks(std::move(marks));
}

/// Journaled soon, not now: an acknowledgement that is lost comes again.
Result<void> takeAcknowledge(AgentCore& core, const SessionTerms& terms,
                             const proto::Acknowledge& acknowledge) {
  const JournalMarks& marks = core.ledger.marks();
  if (acknowledge.store_id() != marks.store_id || terms.term.value < marks.term) {
    log::warn("an acknowledgement of another store or a lower term was ignored");
    return boost::system::in_place_value;
  }
  noteCommit(core, acknowledge.commit());
  for (const proto::Acknowledge::Item& item : acknowledge.items()) {
    const std::optional<AttemptRef> ref = refFromProto(item.ref());
    if (!ref) {
      return Error(ErrorClass::Invalid, "malformed acknowledge: no valid attempt, VM or epoch");
    }
    Attempt* const attempt = core.ledger.find(ref->attempt);
    if (attempt == nullptr || attempt->ref() != *ref || !attempt->durable) continue;
    const auto told = resultsOf(*attempt->durable);
    if (std::find(told.begin(), told.end(), item.kind()) == told.end()) continue;
    if (isAcknowledged(*attempt->durable, item.kind())) continue;
    ClaimRecord& record = attempt->record;
    const bool is_end = item.kind() != proto::Outcome::STARTED;
    record.started_acked = true;
    record.end_acked = record.end_acked || is_end;
    record.acked_commit = std::max(record.acked_commit, acknowledge.commit());
    core.ledger.changed(*attempt);
    // What is not sent any more need not wait for the journal.
    attempt->durable->started_acked = record.started_acked;
    attempt->durable->end_acked = record.end_acked;
    if (is_end) core.staging.forget(ref->attempt);
  }
  return boost::system::in_place_value;
}

asio::awaitable<Result<void>> takeFrame(AgentCore& core, SessionTerms terms, proto::Frame frame) {
  switch (frame.body_case()) {
    case proto::Frame::kEngineHeartbeat:
      noteCommit(core, frame.engine_heartbeat().commit());
      core.ledger.prune(frame.engine_heartbeat().watermark());
      core.outbox.heartbeat();
      co_return boost::system::in_place_value;
    case proto::Frame::kBulkCreate: {
      proto::BulkCreate bulk = std::move(*frame.mutable_bulk_create());
      co_return co_await takeBulkCreate(core, terms.session, terms.term, std::move(bulk));
    }
    case proto::Frame::kCommand: {
      proto::Command command = std::move(*frame.mutable_command());
      co_return co_await takeCommand(core, terms.session, std::move(command));
    }
    case proto::Frame::kAcknowledge:
      co_return takeAcknowledge(core, terms, frame.acknowledge());
    default:
      break;
  }
  co_return Error(ErrorClass::Invalid, "a frame without a body that an engine may send");
}

/// The next frame; an error is the end of the session.
asio::awaitable<Result<proto::Frame>> readFrame(AgentCore& core,
                                                std::shared_ptr<Connection> connection) {
  Result<std::string> message = co_await connection->receive();
  if (!message) co_return message.error();
  proto::Frame frame;
  if (!frame.ParseFromString(*message)) {
    co_return Error(ErrorClass::Invalid, "a message that is no frame of our protocol");
  }
  core.last_heard = core.seams.clock.now();
  co_return frame;
}

asio::awaitable<Ending> takeFrames(AgentCore& core, std::shared_ptr<Connection> connection,
                                   SessionTerms terms) {
  Ending ending("");
  ending.welcomed = true;
  std::uint64_t dropped = 0;
  for (;;) {
    Result<proto::Frame> frame = co_await readFrame(core, connection);
    if (!frame) {
      ending.reason = frame.error().message;
      break;
    }
    const bool ours = frame->session() == terms.session && frame->term() == terms.term.value;
    if (!ours && frame->body_case() != proto::Frame::BODY_NOT_SET) {
      if (++dropped == 1)
        log::warn("session {}: a frame of another session or term", terms.session);
      continue;
    }
    proto::Frame taken = std::move(*frame);
    const Result<void> done = co_await takeFrame(core, terms, std::move(taken));
    if (!done) {
      ending.reason = done.error().message;
      break;
    }
  }
  if (dropped > 0) log::warn("session {}: {} foreign frames were dropped", terms.session, dropped);
  co_return ending;
}

asio::awaitable<Ending> converse(AgentCore& core, std::shared_ptr<Connection> connection) {
  std::string hello = makeHello(core).SerializeAsString();
  const Result<void> sent = co_await connection->send(std::move(hello));
  if (!sent) co_return Ending("hello: " + sent.error().message);
  const Result<proto::Frame> first = co_await readFrame(core, connection);
  if (!first) co_return Ending("no welcome: " + first.error().message);
  if (first->has_refused()) {
    const proto::Refused& refused = first->refused();
    Ending ending("the engine refused this host: " + refused.error_class() + ": " +
                  refused.message());
    ending.retry_after = std::min<Duration>(milliseconds(refused.retry_after_ms()), kRetryAfterMax);
    co_return ending;
  }
  if (!first->has_welcome()) co_return Ending("the engine's first frame is no welcome");
  std::string refusal = whyNotServe(core, *first);
  if (!refusal.empty()) co_return Ending(std::move(refusal));

  // A new term is durable before anything is taken under it; a higher commit number can wait.
  const JournalMarks before = core.ledger.marks();
  const JournalMarks marks = merge(before, first->welcome().marks());
  const bool new_engine =
      marks.term != before.term || marks.start != before.start || marks.store_id != before.store_id;
  core.ledger.setMarks(marks);
  if (new_engine) {
    const Result<void> flushed = co_await core.ledger.flush();
    if (!flushed) {
      core.ledger.setMarks(withEngineOf(core.ledger.marks(), before));
      co_return Ending("the journal cannot take the engine's marks: " + flushed.error().message);
    }
  }
  const SessionTerms terms{first->welcome().session(), Term{first->term()}};
  core.ledger.prune(first->welcome().watermark());
  const Duration beats = 3 * milliseconds(first->welcome().heartbeat_ms()) + kSilenceMargin;
  core.silence_allowed = std::max<Duration>(core.options.engine_silence, beats);
  log::info("session {} with term {} begins", terms.session, terms.term.value);
  core.outbox.attach(connection, terms.session, terms.term);
  co_return co_await takeFrames(core, connection, terms);
}

}  // namespace

asio::awaitable<void> runSessions(AgentCore& core) {
  Duration backoff = core.options.reconnect_min;
  std::string last_reason;
  for (;;) {
    Result<std::unique_ptr<Connection>> dialled = co_await core.seams.dialer.connect();
    Ending ending("");
    if (dialled) {
      core.connection = std::move(*dialled);
      core.last_heard = core.seams.clock.now();
      core.silence_allowed = core.options.engine_silence;
      const std::shared_ptr<Connection> connection = core.connection;
      ending = co_await converse(core, connection);
      core.outbox.detach();
      connection->close();
      core.connection.reset();
    } else {
      ending.reason = dialled.error().message;
    }
    // The same trouble again and again is told once.
    if (ending.welcomed || ending.reason != last_reason) {
      log::warn("no session with the engine: {}", ending.reason);
    }
    last_reason = ending.reason;
    if (ending.welcomed) backoff = core.options.reconnect_min;
    const Duration wait = std::max(backoff, ending.retry_after);
    const Duration delay = core.seams.rng.between(wait / 2, wait);
    backoff = std::min(backoff * 2, core.options.reconnect_max);
    co_await core.seams.clock.sleepFor(delay);
  }
}

void checkEngineSilence(AgentCore& core) {
  if (!core.connection) return;
  if (core.seams.clock.now() - core.last_heard <= core.silence_allowed) return;
  log::warn("the engine has been silent for {}; cutting the connection",
            formatDuration(core.silence_allowed));
  core.connection->close();
}

}  // namespace vms::hostagent
