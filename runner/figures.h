#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "batcher/batch_window.h"
#include "runner/distribution.h"
#include "schema/base/error.h"
#include "schema/base/time.h"
#include "schema/ids.h"
#include "schema/run_state.h"

/// What is counted for those who watch the engine. Plain data; how it is published is not known
/// here.
namespace vms::runner {

/// The parts of an attempt's way, as in the history's statistics.
enum class Phase { Queue, Send, Accept, Stage, Build, Launch, Total };
inline constexpr std::array<std::string_view, 7> kPhaseNames = {
    "queue", "send", "accept", "stage", "build", "launch", "total"};

/// Frames of one kind in one direction.
struct FrameTraffic {
  std::uint64_t frames = 0;
  std::uint64_t bytes = 0;
};

/// What happened since the engine's start. Part of the engine's state, on its thread.
struct EngineCounters {
  std::uint64_t requests_accepted = 0;
  std::uint64_t requests_repeated = 0;  ///< Known by their idempotency key.
  std::map<ErrorClass, std::uint64_t> requests_refused;
  std::map<std::pair<RunState, std::optional<ErrorClass>>, std::uint64_t> runs_finished;
  std::map<ErrorClass, std::uint64_t> runs_retried;
  std::map<std::pair<AttemptState, std::optional<ErrorClass>>, std::uint64_t> attempts_closed;
  std::array<Distribution, kPhaseNames.size()> phases = {
      Distribution(kSecondsBounds), Distribution(kSecondsBounds), Distribution(kSecondsBounds),
      Distribution(kSecondsBounds), Distribution(kSecondsBounds), Distribution(kSecondsBounds),
      Distribution(kSecondsBounds)};
  std::map<batcher::CloseReason, std::uint64_t> windows_closed;

  Distribution batch_items{kCountBounds};
  Distribution batch_bytes{kByteBounds};  ///< Of the whole frame.
  std::uint64_t sessions_opened = 0;
  std::map<ErrorClass, std::uint64_t> sessions_refused;
  /// By the number of the frame's body in the protocol; 0: none that we know.
  std::map<int, FrameTraffic> frames_sent, frames_received;

  Distribution turn_seconds{kSecondsBounds};    ///< From its begin to the release of its effects.
  Distribution decide_seconds{kSecondsBounds};  ///< The part before the commit.
  Distribution turn_changes{kCountBounds};
  Distribution turn_effects{kCountBounds};

  /// An attempt came up `total` after it was requested, and so on.
  void observe(Phase phase, Duration duration) {
    phases[static_cast<std::size_t>(phase)].observe(toSeconds(duration));
  }
};

/// One host at one moment.
struct HostFigures {
  HostId host;
  std::string_view state;  ///< As in HostView.
  bool connected = false;
  std::uint64_t memory = 0, memory_free = 0, memory_reserved = 0;
  std::size_t attempts_open = 0;
  std::size_t window_items = 0, messages_in_flight = 0;
  // While it is connected, as its agent said last:
  std::uint32_t running = 0, staged = 0, lane_width = 0, lane_busy = 0, queue_depth = 0,
                credits = 0;
  Duration heartbeat_age{}, hypervisor_age{};
};

/// The engine at one moment.
struct EngineFigures {
  EngineCounters counters;
  std::map<RunState, std::size_t> runs;          ///< Open ones.
  std::map<AttemptState, std::size_t> attempts;  ///< Open ones.
  std::map<RunReason, std::size_t> ready_queue;  ///< Runs that may be placed now.
  std::size_t waiting_for_capacity = 0, backing_off = 0;
  std::optional<Duration> oldest_waiting;  ///< Of the runs that have no attempt.
  std::size_t requests_open = 0, vms = 0, sessions = 0;
  bool may_start = true;  ///< False after a restore, until the hosts are confirmed.
  std::uint64_t term = 0, commit = 0;
  std::vector<HostFigures> hosts;
};

}  // namespace vms::runner
