#include "runner/session_book.h"

#include <string>

#include "runner/dispatcher.h"
#include "runner/forgotten_hosts.h"
#include "runner/host_identity.h"
#include "runner/met_marks.h"
#include "schema/base/check.h"
#include "schema/base/counted.h"
#include "schema/base/log.h"
#include "schema/frames.h"

namespace vms::runner {
namespace {

constexpr std::size_t kMaxHelloText = 256;
constexpr std::uint64_t kWatermarkLag = 200'000;

Result<void> checkHello(const EngineState& state, const HostId& host, const proto::Hello& hello) {
  if (hello.protocol_min() > kProtocolMax || hello.protocol_max() < kProtocolMin) {
    return Error(ErrorClass::Invalid,
                 "agent speaks protocol " + std::to_string(hello.protocol_min()) + " to " +
                     std::to_string(hello.protocol_max()) + ", this engine " +
                     std::to_string(kProtocolMin) + " to " + std::to_string(kProtocolMax) +
                     "; upgrade the older of the two");
  }
  if (hello.host() != host) {
    return Error(ErrorClass::Forbidden, "the agent calls itself '" + hello.host() +
                                            "' but its certificate names '" + host + "'");
  }
  if (hello.boot_id().empty() || hello.boot_id().size() > kMaxHelloText ||
      hello.hardware_uuid().empty() || hello.hardware_uuid().size() > kMaxHelloText ||
      hello.agent_version().size() > kMaxHelloText ||
      hello.hypervisor().uri().size() > 4 * kMaxHelloText ||
      hello.hypervisor().host_uuid().size() > kMaxHelloText) {
    return Error(ErrorClass::Invalid,
                 "the hello lacks a boot id or a hardware UUID, or one is "
                 "longer than a machine would say");
  }
  if (!state.hosts.contains(host) && state.hosts.size() >= state.options.max_hosts) {
    return Error(ErrorClass::RateLimited, "this engine has " + counted(state.hosts.size(), "host") +
                                              " already and takes no more; give this "
                                              "one to another engine");
  }
  const std::string& store = hello.marks().store_id();
  if (!store.empty() && store != state.marks.store_id.uuid.toBytes()) {
    return Error(ErrorClass::Forbidden,
                 "this agent has served another engine database; restore that database, or stop "
                 "its VMs and remove the agent's state directory");
  }
  return {};
}

void recordHello(EngineState& state, Host& host, const proto::Hello& hello, BootVerdict verdict,
                 const Now& now) {
  HostRecord& record = host.record;
  if (verdict == BootVerdict::Enrolled) {
    record.hardware_uuid = hello.hardware_uuid();
    record.first_seen = now.wall;
  }
  if (verdict == BootVerdict::Rebooted) record.retired_boots.push_back(record.boot_id);
  record.boot_id = hello.boot_id();
  record.cpus = hello.capacity().cpus();
  record.memory = hello.capacity().memory();
  record.agent_version = hello.agent_version();
  record.last_seen = now.wall;
  state.touchHost(record.id);
}

/// A journal that has met no engine is a new one. What was sent to the one before it may have run
/// and left: it is asked about, never delivered again. A batch is what is delivered again, so the
/// attempt has none any more; this must outlive the engine, and costs the history nothing else.
void forbidRedelivery(EngineState& state, Host& host) {
  for (const AttemptId& id : host.open) {
    AttemptRecord& record = state.attempt(id).record;
    if (record.accepted_at || !record.batch) continue;
    record.batch.reset();
    state.touchAttempt(id);
  }
}

}  // namespace

Result<SessionNumber> openSession(EngineState& state, const HostId& id, const proto::Hello& hello,
                                  const Now& now) {
  if (auto ok = checkHello(state, id, hello); !ok) return ok.error();
  noteMarks(state, hello.marks());

  Host& host = state.hosts[id];
  if (host.record.id.empty()) {
    host.record.id = id;
    host.record.confirmed = !state.marks.restored;
    host.window = batcher::BatchWindow(state.options.window);
  }
  VMS_CHECK(!host.session, "one session per host");
  takeBack(state, host, hello);
  const Result<BootVerdict> verdict = judgeBoot(host, hello, state.options, now);
  if (!verdict) {
    log::error("host {}: {}", id, verdict.error().message);
    host.record.alarm = verdict.error().message;
    host.refused_boot = hello.boot_id();
    state.touchHost(id);
    return verdict.error();
  }
  recordHello(state, host, hello, *verdict, now);

  SessionState session;
  session.number = ++state.last_session;
  session.instance = hello.instance();
  session.readiness = hello.readiness();
  session.heard_at = session.last_word = now.mono;
  session.credits = hello.credits();
  host.session = std::move(session);
  host.speaks_for_hypervisor = false;
  host.refused_boot.clear();
  host.vouched_boot.clear();
  host.lost = false;
  state.sessions.emplace(host.session->number, id);
  for (const AttemptId& attempt : host.open) {
    state.attempt(attempt).asked_at.reset();
    state.attempt(attempt).wish_heard = false;
  }
  if (hello.marks().store_id().empty()) forbidRedelivery(state, host);
  host.look = true;
  log::info("host {}: connected, agent {}, boot {}", id, hello.agent_version(), hello.boot_id());
  return host.session->number;
}

void closeSession(EngineState& state, SessionNumber number, const Now& now) {
  const auto found = state.sessions.find(number);
  if (found == state.sessions.end()) return;
  Host& host = state.hosts.find(found->second)->second;
  state.sessions.erase(found);
  host.silent_since = host.session->heard_at;
  host.last_word = host.session->last_word;
  host.silence_is_exact = true;
  host.record.last_seen = now.wall - (now.mono - host.last_word);
  state.touchHost(host.record.id);
  host.session.reset();
  host.window.linkLost();
  host.in_flight.clear();
  state.capacity_changed = true;
  withdrawGathered(state, host, now);
  log::info("host {}: disconnected", host.record.id);
}

std::uint64_t watermarkOf(const EngineState& state) {
  const std::uint64_t commit = state.marks.commit.value;
  return state.marks.restored || commit < kWatermarkLag ? 0 : commit - kWatermarkLag;
}

proto::Frame heartbeatFrame(const EngineState& state) {
  proto::Frame frame;
  proto::EngineHeartbeat* beat = frame.mutable_engine_heartbeat();
  beat->set_commit(state.marks.commit.value);
  beat->set_watermark(watermarkOf(state));
  return frame;
}

}  // namespace vms::runner
