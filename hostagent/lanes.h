#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "schema/ids.h"

namespace vms::hostagent {

/// One piece of work that waits for a lane.
struct LaneJob {
  AttemptId attempt;
  std::uint32_t priority = 0;  ///< Higher first.
  std::uint64_t memory = 0;    ///< Bytes; within a priority bigger VMs first, then the older job.
};

/// A bounded number of parallel slots for one kind of work, and the queue before them.
///
/// Pure: whoever pushes, withdraws or finishes then takes what may start. The queue is bounded by
/// its owner, who asks `queued()` before pushing.
class Lane {
 public:
  /// Precondition: at least 1.
  explicit Lane(std::size_t width);

  /// No effect if the attempt waits already.
  void push(LaneJob job);
  /// Whether it was still waiting; it never starts then.
  bool withdraw(AttemptId attempt);
  /// The next job, which occupies a slot until `finish()`; empty when no slot is free or none
  /// waits.
  std::optional<LaneJob> start();
  /// Of `jobs`, which do not wait, those that find a free slot while nobody waits, in the queue's
  /// order: they have started.
  std::vector<LaneJob> enter(std::vector<LaneJob> jobs);
  /// Precondition: a job that started.
  void finish();

  std::size_t width() const noexcept { return width_; }
  std::size_t busy() const noexcept { return busy_; }
  std::size_t queued() const noexcept { return queue_.size(); }

 private:
  struct Key {
    std::uint32_t priority;
    std::uint64_t memory;
    std::uint64_t sequence;
    bool operator<(const Key& other) const noexcept;
  };

  std::size_t width_;
  std::size_t busy_ = 0;
  std::uint64_t next_sequence_ = 0;
  std::map<Key, LaneJob> queue_;
  std::map<AttemptId, Key> keys_;
};

}  // namespace vms::hostagent
