#include "hostagent/lanes.h"

#include <algorithm>

#include "schema/base/check.h"

namespace vms::hostagent {

bool Lane::Key::operator<(const Key& other) const noexcept {
  if (priority != other.priority) return priority > other.priority;
  if (memory != other.memory) return memory > other.memory;
  return sequence < other.sequence;
}

Lane::Lane(std::size_t width) : width_(width) {
  VMS_CHECK(width_ >= 1, "a lane without slots would never start anything");
}

void Lane::push(LaneJob job) {
  const Key key{job.priority, job.memory, next_sequence_};
  if (!keys_.emplace(job.attempt, key).second) return;
  ++next_sequence_;
  queue_.emplace(key, job);
}

bool Lane::withdraw(AttemptId attempt) {
  const auto found = keys_.find(attempt);
  if (found == keys_.end()) return false;
  queue_.erase(found->second);
  keys_.erase(found);
  return true;
}

std::optional<LaneJob> Lane::start() {
  if (busy_ >= width_ || queue_.empty()) return std::nullopt;
  const LaneJob job = queue_.begin()->second;
  queue_.erase(queue_.begin());
  keys_.erase(job.attempt);
  ++busy_;
  return job;
}

std::vector<LaneJob> Lane::enter(std::vector<LaneJob> jobs) {
  if (busy_ >= width_ || !queue_.empty()) return {};
  std::stable_sort(jobs.begin(), jobs.end(), [](const LaneJob& one, const LaneJob& other) {
    return Key{one.priority, one.memory, 0} < Key{other.priority, other.memory, 0};
  });
  if (jobs.size() > width_ - busy_) jobs.resize(width_ - busy_);
  busy_ += jobs.size();
  return jobs;
}

void Lane::finish() {
  VMS_CHECK(busy_ > 0, "more jobs finished than started");
  --busy_;
}

}  // namespace vms::hostagent
