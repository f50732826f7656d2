#pragma once

#include <map>
#include <utility>

#include "schema/base/error.h"
#include "schema/base/time.h"
#include "schema/ids.h"

namespace vms::batcher {

/// Soft blame per (host, error class): it decays by half every `half_life`, only orders hosts in
/// placement, and never takes one out; so a blamed host is probed again as soon as others are busy.
class PenaltyBook {
 public:
  explicit PenaltyBook(Duration half_life = seconds(60)) : half_life_(half_life) {}

  void blame(const HostId& host, ErrorClass error_class, TimePoint now);
  /// A success clears the host's record.
  void praise(const HostId& host);
  /// Sum over classes, 0 for a clean host.
  double of(const HostId& host, TimePoint now) const;

 private:
  struct Mark {
    double weight = 0;
    TimePoint at;
  };
  double decayed(const Mark& mark, TimePoint now) const;

  Duration half_life_;
  std::map<HostId, std::map<ErrorClass, Mark>> marks_;
};

}  // namespace vms::batcher
