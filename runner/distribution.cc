#include "runner/distribution.h"

#include <algorithm>

#include "schema/base/check.h"

namespace vms::runner {

Distribution::Distribution(std::span<const double> bounds) : bounds_(bounds) {
  VMS_CHECK(bounds.size() <= kMaxBounds, "a distribution has room for its bounds");
}

void Distribution::observe(double value) {
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  ++counts_[static_cast<std::size_t>(at - bounds_.begin())];
  sum_ += value;
}

}  // namespace vms::runner
