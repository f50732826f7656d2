#include "tests/sim/sim_world.h"

#include <utility>

namespace vms::sim {

World::World(std::uint64_t seed) : rng_(seed), order_(rng_.fork()) {}

World::~World() = default;

Process& World::addProcess(std::string name) {
  processes_.push_back(std::make_unique<Process>(*this, std::move(name), processes_.size()));
  return *processes_.back();
}

bool World::pollSome() {
  while (!candidates_.empty()) {
    const std::size_t place =
        candidates_.size() == 1 ? 0 : static_cast<std::size_t>(order_.below(candidates_.size()));
    const std::size_t index = candidates_[place];
    if (processes_[index]->pollOne()) {
      trace_.mix(index);
      return true;
    }
    candidates_.erase(candidates_.begin() + static_cast<std::ptrdiff_t>(place));
  }
  return false;
}

bool World::step(TimePoint limit) {
  if (!pollSome()) {
    // What happened since may have woken a process that was idle then.
    for (std::size_t i = 0; i < processes_.size(); ++i) {
      if (processes_[i]->alive()) candidates_.push_back(i);
    }
    if (!pollSome()) {
      const auto next = timeline_.next();
      if (!next || *next > limit) {
        timeline_.moveTo(limit);
        return false;
      }
      timeline_.runNext();
      trace_.mix(static_cast<std::uint64_t>(now().since_start.count()));
      for (std::size_t i = 0; i < processes_.size(); ++i) {
        if (processes_[i]->alive()) candidates_.push_back(i);
      }
    }
  }
  ++steps_;
  if (hook_) hook_();
  return true;
}

bool World::runUntil(const std::function<bool()>& done, TimePoint limit) {
  while (!stopped_) {
    if (done()) return true;
    if (!step(limit)) return done();
  }
  return false;
}

void World::runFor(Duration duration) {
  const TimePoint limit = now() + duration;
  while (!stopped_ && step(limit)) {
  }
}

}  // namespace vms::sim
