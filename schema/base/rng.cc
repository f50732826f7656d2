#include "schema/base/rng.h"

#include <sys/random.h>

#include "schema/base/check.h"

namespace vms {

std::uint64_t Rng::next() {
  state_ += 0x9e3779b97f4a7c15U;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31U);
}

std::uint64_t Rng::below(std::uint64_t bound) {
  VMS_CHECK(bound > 0, "a draw from an empty range");
  // Draws below the remainder of 2^64 / bound would favour small values; they are drawn again.
  const std::uint64_t uneven = (0 - bound) % bound;
  for (;;) {
    const std::uint64_t draw = next();
    if (draw >= uneven) return draw % bound;
  }
}

std::uint64_t Rng::between(std::uint64_t low, std::uint64_t high) {
  VMS_CHECK(low <= high, "a draw from an empty range");
  const std::uint64_t width = high - low + 1;
  return width == 0 ? next() : low + below(width);
}

bool Rng::chance(double p) { return real() < p; }

double Rng::real() { return static_cast<double>(next() >> 11U) * 0x1.0p-53; }

Duration Rng::between(Duration low, Duration high) {
  VMS_CHECK(low <= high, "a draw from an empty range");
  // Unsigned arithmetic, so that a range across zero or wider than a Duration stays defined.
  const auto base = static_cast<std::uint64_t>(low.count());
  const auto width = static_cast<std::uint64_t>(high.count()) - base;
  return Duration(static_cast<Duration::rep>(base + between(std::uint64_t{0}, width)));
}

std::uint64_t seedFromSystem() {
  std::uint64_t seed = 0;
  const ssize_t size = ::getrandom(&seed, sizeof seed, 0);
  VMS_CHECK(size == static_cast<ssize_t>(sizeof seed), "getrandom failed");
  return seed;
}

}  // namespace vms
