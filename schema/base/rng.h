#pragma once

#include <cstdint>

#include "schema/base/time.h"

namespace vms {

/// A seeded generator (SplitMix64) with our own distributions, so that a seed gives the same
/// draws with every compiler. Not for secrets. Never draw twice in one argument list: the order
/// of evaluation differs between compilers.
class Rng {
 public:
  explicit Rng(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next();
  /// Uniform in [0, bound); `bound` > 0.
  std::uint64_t below(std::uint64_t bound);
  /// Uniform in [low, high].
  std::uint64_t between(std::uint64_t low, std::uint64_t high);
  /// True with probability `p` in [0, 1].
  bool chance(double p);
  /// Uniform in [0, 1).
  double real();
  /// Uniform in [low, high].
  Duration between(Duration low, Duration high);
  /// An independent generator; how one seed feeds several consumers.
  Rng fork() { return Rng(next()); }

 private:
  std::uint64_t state_;
};

/// A seed from the operating system, for production.
std::uint64_t seedFromSystem();

}  // namespace vms
