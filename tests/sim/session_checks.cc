#include "schema/frames.h"
#include "tests/sim/checkers.h"

/// Rules about sessions: whoever answers answers what was asked in the same session (S1).
namespace vms::sim {

namespace {

std::string named(const char* what, const proto::AttemptRef& ref, int kind) {
  return what + std::to_string(kind) + " " + ref.attempt();
}

}  // namespace

void Checkers::heardIn(SessionNumber session, std::string what) {
  said_[session].insert(std::move(what));
}

bool Checkers::wasSaidIn(SessionNumber session, const std::string& what) const {
  const auto found = said_.find(session);
  return found != said_.end() && found->second.count(what) > 0;
}

void Checkers::engineSpeaks(const proto::Frame& frame) {
  if (frame.has_bulk_create()) heardIn(frame.session(), "batch " + frame.bulk_create().batch());
  if (frame.has_command()) {
    heardIn(frame.session(), named("command ", frame.command().ref(), frame.command().kind()));
  }
  if (frame.has_welcome()) watermark_ = std::max(watermark_, frame.welcome().watermark());
  if (frame.has_engine_heartbeat()) {
    watermark_ = std::max(watermark_, frame.engine_heartbeat().watermark());
  }
  if (!frame.has_acknowledge()) return;
  for (const proto::Acknowledge::Item& item : frame.acknowledge().items()) {
    if (wasSaidIn(frame.session(), named("outcome ", item.ref(), item.kind()))) continue;
    fail("other_session", "the engine acknowledges an outcome that this session did not bring");
  }
}

void Checkers::agentSpeaks(const WatchedHost& host, const proto::Frame& frame) {
  const std::string& from = host.host->id();
  if (frame.has_outcome()) {
    heardIn(frame.session(), named("outcome ", frame.outcome().ref(), frame.outcome().kind()));
  }
  if (frame.has_bulk_accepted() &&
      !wasSaidIn(frame.session(), "batch " + frame.bulk_accepted().batch())) {
    fail("other_session", from + " answers a bulk create of another session");
  }
  if (!frame.has_command_answer()) return;
  const proto::CommandAnswer& answer = frame.command_answer();
  if (!wasSaidIn(frame.session(), named("command ", answer.ref(), answer.kind()))) {
    fail("other_session", from + " answers a command of another session");
  }
  const auto ref = refFromProto(answer.ref());
  const bool stop =
      answer.kind() == proto::Command::FORCE_OFF || answer.kind() == proto::Command::SHUTDOWN;
  if (ref && stop && answer.verdict() == proto::CommandAnswer::DONE) {
    stop_done_.insert(ref->attempt);
  }
}

/// A certificate speaks for the machine that was enrolled with it (S3).
void Checkers::welcomed(const WatchedHost& host) {
  const auto& hosts = store_.contents().hosts;
  const auto row = hosts.find(host.name);
  if (row == hosts.end() || row->second.hardware_uuid.empty()) return;
  if (row->second.hardware_uuid == host.host->hardwareUuid()) return;
  fail("other_machine", host.host->id() + " is welcomed as " + host.name + ", another machine");
}

}  // namespace vms::sim
