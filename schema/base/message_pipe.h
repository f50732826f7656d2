#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "schema/base/error.h"
#include "schema/base/owner_signal.h"

namespace vms {

/// Bounds of one connection.
struct PipeLimits {
  std::size_t max_receive_bytes = 16U << 20U;  ///< Of one message, after decompression.
  std::size_t max_send_bytes = 64U << 20U;     ///< Of one message, before compression.
  /// What waits to be written. A queue that is at most half full takes any one message.
  std::size_t max_queue_bytes = 16U << 20U;
  std::size_t max_queue_messages = 4096;
  /// What was read and waits for the owner; at least one message. The peer is throttled beyond.
  std::size_t read_ahead_bytes = 1U << 20U;
  std::size_t read_ahead_messages = 16;
};

enum class PipeState {
  Open,
  Closing,  ///< The owner closed: write what is queued, then end.
  Broken,   ///< Ended by an overflow or by the wire itself: end at once.
};

/// Hands whole messages between the owner of a connection (its executor) and the wire (a strand of
/// the I/O pool). Everything is non-blocking and may be called from any thread; "owner" and "wire"
/// below say whose part a function is.
class MessagePipe {
 public:
  /// `label` names the peer in errors.
  MessagePipe(PipeLimits limits, std::string label);
  MessagePipe(const MessagePipe&) = delete;
  MessagePipe& operator=(const MessagePipe&) = delete;

  const PipeLimits& limits() const noexcept { return limits_; }
  const std::string& label() const noexcept { return label_; }

  // Owner.
  void bindOwner(OwnerSignal::Remote owner);
  /// Errors as of Connection::send. On RateLimited the pipe has ended.
  Result<void> enqueue(std::string message);
  /// Whether the queue is more than half full; a sender then waits for the owner's signal.
  bool congested() const;
  /// Why nothing more can be sent, if so.
  std::optional<Error> endReason() const;
  /// The next message, or the end, which is Unavailable and comes after what had arrived; nothing:
  /// wait for the owner's signal.
  std::optional<Result<std::string>> take();
  /// Drops what has arrived; what was queued is still written by the wire within its time-out.
  void closeByOwner();

  // Wire.
  /// `kick` is called, with our lock held, when the wire should look at the pipe again; it must
  /// only post, and is dropped by unbindWire().
  void bindWire(std::function<void()> kick);
  void unbindWire();
  /// The wire has begun to look: a later change kicks again.
  void lookedAt();
  PipeState state() const;
  /// False while the owner has enough to read.
  bool wantsMore() const;
  void deliver(std::string message);
  /// The next message to write; it counts as queued until written().
  std::optional<std::string> nextOutgoing();
  void written(std::size_t bytes);
  /// Ends both directions with `reason`, in words that follow "connection to <label>", and drops
  /// what waits to be written; the first reason counts.
  void end(ErrorClass error_class, const std::string& reason);

 private:
  bool congestedLocked() const;
  bool wantsMoreLocked() const;
  void kickLocked();
  void endLocked(ErrorClass error_class, const std::string& reason);

  const PipeLimits limits_;
  const std::string label_;

  mutable std::mutex mutex_;
  OwnerSignal::Remote owner_;
  std::function<void()> kick_;
  bool kicked_ = false;
  std::deque<std::string> inbox_;
  std::size_t inbox_bytes_ = 0;
  std::deque<std::string> outbox_;
  std::size_t queued_bytes_ = 0;     ///< In outbox_ and being written.
  std::size_t queued_messages_ = 0;  ///< Likewise.
  bool closed_by_owner_ = false;     ///< Which is why it ended.
  std::optional<Error> ended_;
};

}  // namespace vms
