#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "schema/base/time.h"

namespace vms::batcher {

/// How long one host's commands gather before a bulk create closes over them.
struct WindowPolicy {
  enum class Mode {
    Adaptive,  ///< Nothing in flight: at once. Otherwise until the acceptance of what is in flight.
    Fixed,     ///< `fixed` after the first command.
    Off,       ///< Every command is a message of its own, at once.
  };
  Mode mode = Mode::Adaptive;
  Duration fixed{};
  Duration max_delay = milliseconds(200);  ///< Adaptive: no command waits longer for company.
  std::size_t max_items = 256;             ///< Closes early at this many commands,
  std::size_t max_bytes = 4u << 20;        ///< or at this size of their documents.
};

/// Why a window closed.
enum class CloseReason {
  Off,       ///< Windows are off.
  Idle,      ///< Nothing was in flight (any more).
  Delay,     ///< The acceptance was late.
  Fixed,     ///< The fixed time was over.
  Items,     ///< As many commands as a message carries.
  Bytes,     ///< As many bytes.
  Deadline,  ///< A command could not wait.
};
std::string_view nameOf(CloseReason reason) noexcept;

/// One host's window: when does what has gathered leave? Pure; `now` is an argument.
///
/// Adaptive mode clocks itself, like a group commit: an acceptance closes the window, because
/// waiting longer than a message takes buys nothing. The measured cost of a message bounds the wait
/// when an acceptance is late, so a stuck acceptance never holds commands for long.
class BatchWindow {
 public:
  explicit BatchWindow(WindowPolicy policy) : policy_(policy) {}

  /// A command joined; `send_by` is when its deadline would be missed.
  void add(TimePoint now, std::size_t bytes, std::optional<TimePoint> send_by);
  /// One command of `bytes` is withdrawn; the window may be empty afterwards.
  void remove(std::size_t bytes);
  /// What had gathered left as one message of `items` commands.
  void sent(TimePoint now, std::size_t items, std::size_t bytes);
  /// The oldest message in flight was answered.
  void accepted(TimePoint now);
  /// The session ended: nothing is in flight any more. Gathered commands stay.
  void linkLost();

  std::size_t size() const { return items_; }
  std::size_t inFlight() const { return in_flight_; }
  /// How many of the gathered commands the next message may carry.
  std::size_t batchLimit() const;

  /// When the window closes: nothing while it is empty, `now` or earlier if it should go at once.
  /// Ask after everything that waits in the intake was placed, so that company in the same turn
  /// shares the message.
  std::optional<TimePoint> closesAt(TimePoint now) const;
  /// What decides about `closesAt`, when that is not nothing.
  CloseReason closeReason(TimePoint now) const;

  /// Smoothed time from sending a message to its acceptance.
  Duration messageCost() const { return cost_; }

 private:
  struct Closing {
    TimePoint at;
    CloseReason reason;
  };
  /// Precondition: not empty.
  Closing closing(TimePoint now) const;
  void emptied();

  WindowPolicy policy_;
  std::size_t items_ = 0;
  std::size_t bytes_ = 0;
  std::size_t in_flight_ = 0;
  std::optional<TimePoint> first_added_;
  std::optional<TimePoint> send_by_;
  TimePoint oldest_sent_{};
  Duration cost_ = milliseconds(5);
};

}  // namespace vms::batcher
