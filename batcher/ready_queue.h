#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>

#include "schema/base/time.h"
#include "schema/ids.h"
#include "schema/run_state.h"

namespace vms::batcher {

struct QueueOptions {
  /// How much waiting outweighs one point of priority: ageing.
  Duration per_priority_point = seconds(30);
  /// Every n-th run taken comes from the least favoured class that waits, so none starves.
  std::uint32_t guaranteed_share = 8;
};

/// The one queue of everything that may start now. Order: class (HA before re-run before user),
/// then priority with ageing, then age. Pure; ties are decided by order of entry.
class ReadyQueue {
 public:
  explicit ReadyQueue(QueueOptions options = {}) : options_(options) {}

  /// `waiting_since` may lie in the past: a run that queues again keeps its age. A run is in the
  /// queue at most once.
  void push(RunId run, RunReason reason, int priority, TimePoint waiting_since);
  /// Whether it was there.
  bool remove(RunId run);
  bool contains(RunId run) const { return places_.contains(run); }

  std::size_t size() const { return places_.size(); }
  bool empty() const { return places_.empty(); }
  std::size_t size(RunReason reason) const;
  /// The one with the smallest id, which is the first that was made.
  std::optional<RunId> oldest() const {
    return places_.empty() ? std::nullopt : std::optional(places_.begin()->first);
  }

  /// Offers runs in order until `take` says Stop or all were offered. A run that is taken leaves
  /// the queue; one that is skipped keeps its place and is not offered again in this pass. While it
  /// is offered, a run is not in the queue.
  enum class Verdict { Take, Skip, Stop };
  void drain(const std::function<Verdict(RunId)>& take);

 private:
  struct Key {
    Duration rank{};  // Waiting since, minus the head start of its priority.
    std::uint64_t entry = 0;
    auto operator<=>(const Key&) const = default;
  };
  struct Place {
    std::size_t queue_class = 0;
    Key key;
  };
  static constexpr std::size_t kClasses = 3;

  QueueOptions options_;
  std::uint64_t entries_ = 0;
  std::uint32_t taken_ = 0;
  std::array<std::map<Key, RunId>, kClasses> classes_;
  std::map<RunId, Place> places_;
};

}  // namespace vms::batcher
