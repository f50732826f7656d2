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
  /// Tells where the attempt durably stands: a result, and whatever a new session lacks, at once;
  /// progress when it has gathered for a moment, as it then stands.
  void report(AttemptId attempt);
  /// As above, at once and even if acknowledged: the engine asked.
  void reportAsked(AttemptId attempt);
  /// Reports every result that was last sent at least `AgentOptions::resend` ago.
  void reportUnacknowledged();
  void heartbeat();
  /// The domain will be in a list of changes, which gather for a moment.
  void domainChanged(VmId vm);
  /// As above, at once: somebody else's domain may be in the engine's way.
  void foreignChanged(VmId vm);
  /// The whole list, at once.
  void listDomains();

  /// Nothing is left to send but progress and changes that gather, or there is no session.
  bool idle() const noexcept;

  /// The sender; runs as long as the agent.
  asio::awaitable<void> run();

 private:
  static constexpr std::size_t kAnswersMax = 65'536;
  /// So long progress and changed domains gather. Short for people; long enough for most of what
  /// happens to an attempt to be told with its result.
  static constexpr Duration kGather = milliseconds(50);

  /// The next message, or empty when there is nothing to say.
  std::optional<proto::Frame> next();
  std::optional<proto::Frame> nextReport();
  proto::Frame makeHeartbeat() const;
  proto::Frame makeList(bool complete);
  bool listable() const;
  void enqueue(AttemptId attempt);
  /// Sees to it that what gathers leaves in time.
  void gather();
  asio::awaitable<void> endGathering();

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
  std::set<AttemptId> progress_;  ///< Gathering; a report of the same attempt makes it needless.
  std::set<AttemptId> asked_;     ///< To be reported even if acknowledged.
  std::set<VmId> changed_;
  bool changes_due_ = false;         ///< `changed_` has gathered.
  bool gathering_ = false;           ///< endGathering() is under way.
  std::deque<proto::Frame> follow_;  ///< Rest of the report of one attempt.
  bool sending_ = false;
};

}  // namespace vms::hostagent
