#include "runner/host_sessions.h"

#include <utility>

#include "runner/host_identity.h"
#include "runner/reconciler.h"
#include "runner/session_book.h"
#include "schema/base/log.h"
#include "schema/frames.h"

namespace vms::runner {
namespace {

constexpr std::size_t kMaxQueuedFrames = 20'000;
constexpr std::size_t kMaxQueuedBytes = 256u << 20;
constexpr std::uint32_t kRetryAfterMs = 2'000;

void countFrame(std::map<int, FrameTraffic>& traffic, const proto::Frame& frame,
                std::size_t bytes) {
  FrameTraffic& kind = traffic[static_cast<int>(frame.body_case())];
  ++kind.frames;
  kind.bytes += bytes;
}

}  // namespace

/// One connection, from its first byte to its last.
struct HostSessions::Link {
  Link(const asio::any_io_executor& executor, std::unique_ptr<Connection> connection_in,
       TimePoint since_in)
      : connection(std::move(connection_in)),
        since(since_in),
        outgoing(executor),
        heard(executor) {}

  std::unique_ptr<Connection> connection;
  TimePoint since;  ///< Its agent has said nothing before.
  HostId host;
  SessionNumber session = 0;
  proto::Hello hello;
  std::deque<std::string> queue;
  std::size_t queued_bytes = 0;
  Wake outgoing;  ///< Something to send, or closed.
  Wake heard;     ///< A frame came in, or closed.
  std::uint64_t frames = 0;
  bool helloed = false;
  bool closed = false;

  void close() {
    closed = true;
    connection->close();
    outgoing.notify();
    heard.notify();
  }
};

HostSessions::HostSessions(asio::any_io_executor executor, Clock& clock, Listener& listener,
                           Engine& engine, TurnLoop& turns)
    : executor_(executor),
      clock_(clock),
      listener_(listener),
      engine_(engine),
      turns_(turns),
      group_(executor) {}

asio::awaitable<void> HostSessions::run() {
  while (!stopping_) {
    Result<std::unique_ptr<Connection>> accepted = co_await listener_.accept();
    if (!accepted) {
      if (stopping_) break;
      // A listener closes only when we close it; anything else passes.
      log::warn("accepting agents: {}", accepted.error().message);
      co_await clock_.sleepFor(milliseconds(100));
      continue;
    }
    auto link = std::make_shared<Link>(executor_, std::move(*accepted), clock_.now());
    group_.spawn("session of " + link->connection->peer().common_name,
                 [this, link] { return serve(link); });
  }
  for (const auto& [session, link] : links_) link->close();
  group_.cancel();
  co_await group_.join();
}

void HostSessions::stop() {
  stopping_ = true;
  listener_.close();
}

void HostSessions::push(Link& link, const proto::Frame& frame) {
  std::string bytes = frame.SerializeAsString();
  if (link.closed) return;
  EngineCounters& counters = engine_.state().counters;
  if (link.queue.size() >= kMaxQueuedFrames || link.queued_bytes + bytes.size() > kMaxQueuedBytes) {
    log::warn("host {}: does not read what it is sent; closing its session", link.host);
    link.close();
    return;
  }
  countFrame(counters.frames_sent, frame, bytes.size());
  if (frame.has_bulk_create()) {
    counters.batch_items.observe(frame.bulk_create().items_size());
    counters.batch_bytes.observe(static_cast<double>(bytes.size()));
  }
  link.queued_bytes += bytes.size();
  link.queue.push_back(std::move(bytes));
  link.outgoing.notify();
}

void HostSessions::release(Effects& effects) {
  for (Effects::Outgoing& outgoing : effects.frames) {
    const auto found = links_.find(outgoing.session);
    if (found == links_.end()) continue;
    // A term that was raised meanwhile has ended these sessions, and commands nothing more (S8).
    const bool commands = outgoing.frame.has_bulk_create() || outgoing.frame.has_command();
    if (commands && outgoing.frame.term() != engine_.state().marks.term.value) continue;
    if (outgoing.frame.has_acknowledge()) {
      outgoing.frame.mutable_acknowledge()->set_commit(engine_.state().marks.commit.value);
    }
    push(*found->second, outgoing.frame);
  }
  for (const SessionNumber session : effects.close) {
    const auto found = links_.find(session);
    if (found != links_.end()) found->second->close();
  }
}

asio::awaitable<void> HostSessions::serve(std::shared_ptr<Link> link) {
  link->host = link->connection->peer().common_name;
  const bool greeted = co_await receiveHello(link);
  if (!greeted) {
    link->close();
    co_return;
  }
  if (!contended_.insert(link->host).second) {
    Error busy(ErrorClass::Busy, "another connection of this host is being judged");
    co_await refuse(link, std::move(busy));
    co_return;
  }
  const Result<void> free = co_await takeOver(link);
  contended_.erase(link->host);
  if (!free) {
    co_await refuse(link, free.error());
    co_return;
  }
  // The hello was under way and has waited here; meanwhile the machine went on running (S3).
  const Duration up = uptimeOf(link->hello) + (clock_.now() - link->since);
  link->hello.set_uptime_ms(static_cast<std::uint64_t>(toMs(up)));
  const Result<SessionNumber> session =
      openSession(engine_.state(), link->host, link->hello, turns_.now());
  turns_.kick();
  if (!session) {
    co_await refuse(link, session.error());
    co_return;
  }
  ++engine_.state().counters.sessions_opened;
  link->session = *session;
  links_.emplace(*session, link);
  {
    // Leaves with the turn that makes the session's consequences durable, before any other frame.
    const EngineState& state = engine_.state();
    proto::Frame frame;
    proto::Welcome* welcome = frame.mutable_welcome();
    welcome->set_protocol(std::min(kProtocolMax, link->hello.protocol_max()));
    welcome->set_session(*session);
    welcome->mutable_marks()->set_store_id(state.marks.store_id.uuid.toBytes());
    welcome->mutable_marks()->set_term(state.marks.term.value);
    welcome->mutable_marks()->set_commit(state.marks.commit.value);
    welcome->mutable_marks()->set_start(state.marks.start.uuid.toBytes());
    welcome->set_watermark(watermarkOf(state));
    welcome->set_heartbeat_ms(static_cast<std::uint32_t>(toMs(state.options.heartbeat)));
    engine_.state().send(*session, std::move(frame));
  }
  group_.spawn("sender of " + link->host, [this, link] { return sendFrames(link); });
  co_await receiveFrames(link);
  link->close();
  links_.erase(link->session);
  closeSession(engine_.state(), link->session, turns_.now());
  turns_.kick();
}

asio::awaitable<bool> HostSessions::receiveHello(std::shared_ptr<Link> link) {
  const std::string address = link->connection->peer().address;
  if (!isValidHostId(link->host)) {
    log::warn("agent at {}: its certificate names no valid host", address);
    co_return false;
  }
  group_.spawn("hello time-out", [this, link]() -> asio::awaitable<void> {
    co_await clock_.sleepFor(engine_.state().options.hello_timeout);
    if (!link->helloed && !link->closed) {
      log::warn("host {}: connected and said nothing; closing", link->host);
      link->close();
    }
  });
  Result<std::string> message = co_await link->connection->receive();
  link->helloed = true;
  if (!message) co_return false;
  proto::Frame frame;
  if (!frame.ParseFromString(*message) || !frame.has_hello()) {
    log::warn("host {} at {}: its first frame is no hello; closing", link->host, address);
    co_return false;
  }
  link->hello = frame.hello();
  co_return true;
}

/// An older session of this host must be over first: it is probed, and ends if it stays silent.
asio::awaitable<Result<void>> HostSessions::takeOver(std::shared_ptr<Link> newcomer) {
  const Host* host = engine_.state().findHost(newcomer->host);
  if (host == nullptr || !host->session) co_return Result<void>();
  const auto found = links_.find(host->session->number);
  if (found == links_.end()) co_return Result<void>();
  const std::shared_ptr<Link> old = found->second;
  const std::uint64_t heard = old->frames;

  proto::Frame probe = heartbeatFrame(engine_.state());
  probe.set_session(old->session);
  probe.set_term(engine_.state().marks.term.value);
  push(*old, probe);
  group_.spawn("duplicate probe", [this, old]() -> asio::awaitable<void> {
    co_await clock_.sleepFor(engine_.state().options.duplicate_probe);
    old->heard.notify();
  });
  const TimePoint until = clock_.now() + engine_.state().options.duplicate_probe;
  while (!old->closed && old->frames == heard && clock_.now() < until) co_await old->heard.wait();

  if (!old->closed && old->frames != heard) {
    log::error(
        "host {}: a second agent with its certificate came from {} while the first is alive; "
        "refused",
        newcomer->host, newcomer->connection->peer().address);
    Error error(ErrorClass::Busy, "an agent with this certificate is connected already");
    co_return error;
  }
  // Its receiver notices the close and ends the session; until then the host is not free.
  old->close();
  while (links_.contains(old->session)) co_await clock_.sleepFor(milliseconds(1));
  co_return Result<void>();
}

asio::awaitable<void> HostSessions::refuse(std::shared_ptr<Link> link, Error error) {
  ++engine_.state().counters.sessions_refused[error.error_class];
  log::warn("host {}: refused: {}", link->host, error.message);
  proto::Frame frame;
  proto::Refused* refused = frame.mutable_refused();
  refused->set_error_class(std::string(nameOf(error.error_class)));
  refused->set_message(error.message);
  refused->set_retry_after_ms(kRetryAfterMs);
  // What the refusal reveals (an alarm) is durable first.
  const Result<void> durable = co_await turns_.durable();
  if (durable) {
    std::string bytes = frame.SerializeAsString();
    const Result<void> sent = co_await link->connection->send(std::move(bytes));
    if (!sent) log::debug("host {}: the refusal was not sent", link->host);
    // The agent closes once it has read it; a moment's grace keeps the message from being cut off.
    co_await clock_.sleepFor(milliseconds(200));
  }
  link->close();
}

asio::awaitable<void> HostSessions::receiveFrames(std::shared_ptr<Link> link) {
  while (!link->closed) {
    Result<std::string> message = co_await link->connection->receive();
    if (!message) co_return;
    proto::Frame frame;
    if (!frame.ParseFromString(*message)) {
      log::warn("host {}: sent a malformed frame; closing its session", link->host);
      co_return;
    }
    countFrame(engine_.state().counters.frames_received, frame, message->size());
    ++link->frames;
    link->heard.notify();
    const Result<void> handled = onFrame(engine_.state(), link->session, frame, turns_.now());
    turns_.kick();
    if (!handled) {
      log::warn("host {}: {}; closing its session", link->host, handled.error().message);
      co_return;
    }
  }
}

asio::awaitable<void> HostSessions::sendFrames(std::shared_ptr<Link> link) {
  while (!link->closed) {
    if (link->queue.empty()) {
      co_await link->outgoing.wait();
      continue;
    }
    std::string bytes = std::move(link->queue.front());
    link->queue.pop_front();
    link->queued_bytes -= bytes.size();
    const Result<void> sent = co_await link->connection->send(std::move(bytes));
    if (!sent) break;
  }
  link->close();
}

}  // namespace vms::runner
