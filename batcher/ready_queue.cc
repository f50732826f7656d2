#include "batcher/ready_queue.h"

#include "schema/base/check.h"

namespace vms::batcher {
namespace {

std::size_t classOf(RunReason reason) {
  switch (reason) {
    case RunReason::Ha:
      return 0;
    case RunReason::Rerun:
      return 1;
    case RunReason::User:
      return 2;
  }
  return 2;
}

}  // namespace

void ReadyQueue::push(RunId run, RunReason reason, int priority, TimePoint waiting_since) {
  VMS_CHECK(!places_.contains(run), "a run waits in one place");
  Place place;
  place.queue_class = classOf(reason);
  place.key.rank = waiting_since.since_start - priority * options_.per_priority_point;
  place.key.entry = entries_++;
  classes_[place.queue_class].emplace(place.key, run);
  places_.emplace(run, place);
}

bool ReadyQueue::remove(RunId run) {
  const auto found = places_.find(run);
  if (found == places_.end()) return false;
  classes_[found->second.queue_class].erase(found->second.key);
  places_.erase(found);
  return true;
}

std::size_t ReadyQueue::size(RunReason reason) const { return classes_[classOf(reason)].size(); }

void ReadyQueue::drain(const std::function<Verdict(RunId)>& take) {
  // Positions are keys, not iterators: `take` may push and remove other runs.
  std::array<std::optional<Key>, kClasses> last;
  const auto nextOf = [&](std::size_t c) {
    return last[c] ? classes_[c].upper_bound(*last[c]) : classes_[c].begin();
  };
  for (;;) {
    // The favoured class first, but every n-th place goes to the least favoured one that waits.
    const bool shared_turn =
        options_.guaranteed_share > 0 && (taken_ + 1) % options_.guaranteed_share == 0;
    std::optional<std::size_t> chosen;
    for (std::size_t i = 0; i < kClasses && !chosen; ++i) {
      const std::size_t c = shared_turn ? kClasses - 1 - i : i;
      if (nextOf(c) != classes_[c].end()) chosen = c;
    }
    if (!chosen) return;

    const auto at = nextOf(*chosen);
    const Place place{*chosen, at->first};
    const RunId run = at->second;
    last[*chosen] = place.key;
    classes_[*chosen].erase(at);
    places_.erase(run);
    const Verdict verdict = take(run);
    if (verdict == Verdict::Take) {
      ++taken_;
      continue;
    }
    VMS_CHECK(!places_.contains(run), "a run that is offered is not queued again meanwhile");
    classes_[*chosen].emplace(place.key, run);
    places_.emplace(run, place);
    if (verdict == Verdict::Stop) return;
  }
}

}  // namespace vms::batcher
