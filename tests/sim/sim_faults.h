#pragma once

#include <cstdint>
#include <string_view>

#include "schema/base/faults.h"
#include "tests/sim/sim_world.h"

namespace vms::sim {

/// Answers what production code asks for at its named places, with one probability for all.
class SimFaults final : public Faults {
 public:
  explicit SimFaults(World& world) : world_(world), rng_(world.rng().fork()) {}

  void setProbability(double probability) { probability_ = probability; }

  bool strikes(std::string_view name) override {
    if (probability_ <= 0 || !rng_.chance(probability_)) return false;
    world_.trace().mix(name);
    ++count_;
    return true;
  }
  std::uint64_t count() const { return count_; }

 private:
  World& world_;
  Rng rng_;
  double probability_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace vms::sim
