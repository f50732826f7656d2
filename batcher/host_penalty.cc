#include "batcher/host_penalty.h"

#include <algorithm>
#include <cmath>

namespace vms::batcher {
namespace {

constexpr double kMostPerClass = 8.0;
constexpr double kNegligible = 0.01;

}  // namespace

double PenaltyBook::decayed(const Mark& mark, TimePoint now) const {
  const double half_lives =
      static_cast<double>((now - mark.at).count()) / static_cast<double>(half_life_.count());
  const double weight = mark.weight * std::exp2(-std::max(0.0, half_lives));
  return weight < kNegligible ? 0.0 : weight;
}

void PenaltyBook::blame(const HostId& host, ErrorClass error_class, TimePoint now) {
  Mark& mark = marks_[host][error_class];
  mark.weight = std::min(kMostPerClass, decayed(mark, now) + 1.0);
  mark.at = now;
}

void PenaltyBook::praise(const HostId& host) { marks_.erase(host); }

double PenaltyBook::of(const HostId& host, TimePoint now) const {
  const auto found = marks_.find(host);
  if (found == marks_.end()) return 0.0;
  double sum = 0.0;
  for (const auto& [error_class, mark] : found->second) sum += decayed(mark, now);
  return sum;
}

}  // namespace vms::batcher
