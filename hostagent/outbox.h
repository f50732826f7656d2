#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>

#include "schema/base/error.h"
#include "schema/base/transport.h"
#include "schema/base/wake.h"
#include "schema/ids.h"
#include "schema/proto/agent.pb.h"

namespace vms::hostagent {

struct AgentCore;

/// Everything that leaves for the engine after Welcome, through one sender.
///
/// Holds what should be told, not messages: an attempt that moves on while the network is slow is
/// told once, as it then stands. So nothing here waits for the engine, and all of it is bounded by
/// what exists. Answers belong to the session in which they were asked for and end with it.
class Outbox {
 public:
  Outbox(AgentCore& core, const asio::any_io_executor& executor) : core_(core), wake_(executor) {}

  /// A session begins or ends. At its beginning everything is told anew: where open attempts stand,
  /// results that were not acknowledged, the list of domains.
  void attach(std::shared_ptr<Connection> connection, SessionNumber session, Term term);
  void detach();
  SessionNumber session() const noexcept { return connection_ ? session_ : 0; }

  /// Dropped when `session` is not the current one. A peer that asks and does not read is cut.
  void answer(SessionNumber session, proto::Frame frame);
  /// Tells where the attempt durably stands. `even_if_acknowledged`: the engine asked.
  void report(AttemptId attempt, bool even_if_acknowledged = false);
  /// Reports every result that was last sent at least `AgentOptions::resend` ago.
  void reportUnacknowledged();
  void heartbeat();
  void domainChanged(VmId vm);
  void listDomains();

  /// Nothing is left to send, or there is no session.
  bool idle() const noexcept;

  /// The sender; runs as long as the agent.
  asio::awaitable<void> run();

 private:
  static constexpr std::size_t kAnswersMax = 65'536;

  /// The next message, or empty when there is nothing to say.
  std::optional<proto::Frame> next();
  std::optional<proto::Frame> nextReport();
  proto::Frame makeHeartbeat() const;
  proto::Frame makeList(bool complete);
  bool listable() const;

  AgentCore& core_;
  Wake wake_;
  std::shared_ptr<Connection> connection_;
  SessionNumber session_ = 0;
  Term term_;

  bool heartbeat_due_ = false;
  bool list_due_ = false;
  std::uint64_t sequence_ = 0;
  std::deque<proto::Frame> answers_;
  std::deque<AttemptId> reports_;
  std::set<AttemptId> reports_known_;
  std::set<AttemptId> asked_;  ///< To be reported even if acknowledged.
  std::set<VmId> changed_;
  std::deque<proto::Frame> follow_;  ///< Rest of the report of one attempt.
  bool sending_ = false;
};

}  // namespace vms::hostagent
