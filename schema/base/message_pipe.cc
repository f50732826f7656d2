#include "schema/base/message_pipe.h"

#include <utility>

namespace vms {

MessagePipe::MessagePipe(PipeLimits limits, std::string label)
    : limits_(limits), label_(std::move(label)) {}

void MessagePipe::bindOwner(OwnerSignal::Remote owner) {
  const std::lock_guard lock(mutex_);
  owner_ = std::move(owner);
}

Result<void> MessagePipe::enqueue(std::string message) {
  if (message.size() > limits_.max_send_bytes) {
    return Error(ErrorClass::TooLarge, "message of " + std::to_string(message.size()) +
                                           " bytes for " + label_ + " is over the limit of " +
                                           std::to_string(limits_.max_send_bytes) +
                                           " bytes; nothing was sent");
  }
  const std::lock_guard lock(mutex_);
  if (ended_) return *ended_;
  const bool has_room =
      !congestedLocked() || (queued_bytes_ + message.size() <= limits_.max_queue_bytes &&
                             queued_messages_ < limits_.max_queue_messages);
  if (!has_room) {
    endLocked(ErrorClass::RateLimited,
              "was closed because the peer does not read: " + std::to_string(queued_bytes_) +
                  " bytes in " + std::to_string(queued_messages_) + " messages wait");
    return *ended_;
  }
  queued_bytes_ += message.size();
  ++queued_messages_;
  outbox_.push_back(std::move(message));
  kickLocked();
  return {};
}

bool MessagePipe::congested() const {
  const std::lock_guard lock(mutex_);
  return congestedLocked();
}

bool MessagePipe::congestedLocked() const {
  return queued_bytes_ > limits_.max_queue_bytes / 2 ||
         queued_messages_ > limits_.max_queue_messages / 2;
}

std::optional<Error> MessagePipe::endReason() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

std::optional<Result<std::string>> MessagePipe::take() {
  const std::lock_guard lock(mutex_);
  if (!inbox_.empty()) {
    const bool was_full = !wantsMoreLocked();
    std::string message = std::move(inbox_.front());
    inbox_.pop_front();
    inbox_bytes_ -= message.size();
    if (was_full && wantsMoreLocked()) kickLocked();
    return Result<std::string>(std::move(message));
  }
  if (!ended_) return std::nullopt;
  return Result<std::string>(Error(ErrorClass::Unavailable, ended_->message));
}

void MessagePipe::closeByOwner() {
  const std::lock_guard lock(mutex_);
  if (!ended_) closed_by_owner_ = true;
  inbox_.clear();
  inbox_bytes_ = 0;
  endLocked(ErrorClass::Unavailable, "was closed on our side");
}

void MessagePipe::bindWire(std::function<void()> kick) {
  const std::lock_guard lock(mutex_);
  kick_ = std::move(kick);
}

void MessagePipe::unbindWire() {
  const std::lock_guard lock(mutex_);
  kick_ = nullptr;
  endLocked(ErrorClass::Unavailable, "was closed because the I/O threads have ended");
}

void MessagePipe::lookedAt() {
  const std::lock_guard lock(mutex_);
  kicked_ = false;
}

PipeState MessagePipe::state() const {
  const std::lock_guard lock(mutex_);
  if (!ended_) return PipeState::Open;
  return closed_by_owner_ ? PipeState::Closing : PipeState::Broken;
}

bool MessagePipe::wantsMore() const {
  const std::lock_guard lock(mutex_);
  return wantsMoreLocked();
}

bool MessagePipe::wantsMoreLocked() const {
  return !ended_ && inbox_.size() < limits_.read_ahead_messages &&
         inbox_bytes_ < limits_.read_ahead_bytes;
}

void MessagePipe::deliver(std::string message) {
  const std::lock_guard lock(mutex_);
  if (ended_) return;
  inbox_bytes_ += message.size();
  inbox_.push_back(std::move(message));
  owner_.notify();
}

std::optional<std::string> MessagePipe::nextOutgoing() {
  const std::lock_guard lock(mutex_);
  if (outbox_.empty()) return std::nullopt;
  std::optional<std::string> message(std::move(outbox_.front()));
  outbox_.pop_front();
  return message;
}

void MessagePipe::written(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const bool was_congested = congestedLocked();
  queued_bytes_ -= bytes;
  --queued_messages_;
  if (was_congested && !congestedLocked()) owner_.notify();
}

void MessagePipe::end(ErrorClass error_class, const std::string& reason) {
  const std::lock_guard lock(mutex_);
  endLocked(error_class, reason);
}

void MessagePipe::kickLocked() {
  if (kicked_ || !kick_) return;
  kicked_ = true;
  kick_();
}

void MessagePipe::endLocked(ErrorClass error_class, const std::string& reason) {
  if (ended_) return;
  ended_.emplace(error_class, "connection to " + label_ + " " + reason);
  if (!closed_by_owner_) outbox_.clear();
  owner_.notify();
  kickLocked();
}

}  // namespace vms
