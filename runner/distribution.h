#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "schema/base/time.h"

namespace vms::runner {

/// How often values fell into each of a few ranges, and their sum. Never allocates. Of one thread
/// at a time.
class Distribution {
 public:
  static constexpr std::size_t kMaxBounds = 16;

  /// Upper bounds, inclusive and ascending, at most `kMaxBounds`; they outlive this.
  explicit Distribution(std::span<const double> bounds);

  void observe(double value);

  std::span<const double> bounds() const { return bounds_; }
  /// Values in the range that ends with bound `i`; `i` = number of bounds: all larger ones.
  std::uint64_t count(std::size_t i) const { return counts_[i]; }
  double sum() const { return sum_; }

 private:
  std::span<const double> bounds_;
  std::array<std::uint64_t, kMaxBounds + 1> counts_{};
  double sum_ = 0;
};

inline constexpr std::array kSecondsBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,  0.25,
                                              0.5,   1.0,    2.5,   5.0,  10.0,  30.0, 60.0, 300.0};
inline constexpr std::array kCountBounds = {1.0,  2.0,   4.0,   8.0,    16.0,   32.0,
                                            64.0, 128.0, 256.0, 1024.0, 4096.0, 16384.0};
inline constexpr std::array kByteBounds = {1024.0,    4096.0,    16384.0,    65536.0,   262144.0,
                                           1048576.0, 4194304.0, 16777216.0, 33554432.0};

inline double toSeconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace vms::runner
