#include "batcher/batch_window.h"

#include <algorithm>

#include "schema/base/check.h"

namespace vms::batcher {
namespace {

constexpr Duration kCostFloor = milliseconds(1);
constexpr int kCostSmoothing = 8;  // Weight of the past: 7/8 old, 1/8 new.

}  // namespace

void BatchWindow::add(TimePoint now, std::size_t bytes, std::optional<TimePoint> send_by) {
  ++items_;
  bytes_ += bytes;
  if (!first_added_) first_added_ = now;
  if (send_by && (!send_by_ || *send_by < *send_by_)) send_by_ = send_by;
}

void BatchWindow::remove(std::size_t bytes) {
  VMS_CHECK(items_ > 0, "a window gives up only what joined it");
  --items_;
  bytes_ -= std::min(bytes, bytes_);
  if (items_ == 0) emptied();
}

void BatchWindow::sent(TimePoint now, std::size_t items, std::size_t bytes) {
  VMS_CHECK(items > 0 && items <= items_, "a message carries commands of its window");
  items_ -= items;
  bytes_ -= std::min(bytes, bytes_);
  if (in_flight_ == 0) oldest_sent_ = now;
  ++in_flight_;
  if (items_ == 0) {
    emptied();
  } else {
    first_added_ = now;
  }
}

void BatchWindow::emptied() {
  bytes_ = 0;
  first_added_.reset();
  send_by_.reset();
}

void BatchWindow::accepted(TimePoint now) {
  if (in_flight_ == 0) return;
  const Duration measured = now - oldest_sent_;
  cost_ = std::max(kCostFloor, (cost_ * (kCostSmoothing - 1) + measured) / kCostSmoothing);
  --in_flight_;
  oldest_sent_ = now;
}

void BatchWindow::linkLost() { in_flight_ = 0; }

std::size_t BatchWindow::batchLimit() const {
  return policy_.mode == WindowPolicy::Mode::Off ? 1 : std::min(items_, policy_.max_items);
}

BatchWindow::Closing BatchWindow::closing(TimePoint now) const {
  if (items_ >= policy_.max_items) return {now, CloseReason::Items};
  if (bytes_ >= policy_.max_bytes) return {now, CloseReason::Bytes};

  Closing closing{now, CloseReason::Idle};
  switch (policy_.mode) {
    case WindowPolicy::Mode::Off:
      closing.reason = CloseReason::Off;
      break;
    case WindowPolicy::Mode::Fixed:
      closing = {*first_added_ + policy_.fixed, CloseReason::Fixed};
      break;
    case WindowPolicy::Mode::Adaptive:
      // Twice the usual cost: an acceptance that late is not about to come, and gathering longer
      // than a message takes adds more delay than it saves.
      if (in_flight_ > 0) {
        closing = {*first_added_ + std::min(2 * cost_, policy_.max_delay), CloseReason::Delay};
      }
      break;
  }
  if (send_by_ && *send_by_ < closing.at) closing = {*send_by_, CloseReason::Deadline};
  return closing;
}

std::optional<TimePoint> BatchWindow::closesAt(TimePoint now) const {
  if (items_ == 0) return std::nullopt;
  return closing(now).at;
}

CloseReason BatchWindow::closeReason(TimePoint now) const {
  VMS_CHECK(items_ > 0, "only a window with commands closes");
  return closing(now).reason;
}

std::string_view nameOf(CloseReason reason) noexcept {
  switch (reason) {
    case CloseReason::Off:
      return "off";
    case CloseReason::Idle:
      return "idle";
    case CloseReason::Delay:
      return "delay";
    case CloseReason::Fixed:
      return "fixed";
    case CloseReason::Items:
      return "items";
    case CloseReason::Bytes:
      return "bytes";
    case CloseReason::Deadline:
      return "deadline";
  }
  return "idle";
}

}  // namespace vms::batcher
