#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "schema/base/transport.h"
#include "schema/ids.h"

namespace vms::bench {

/// The wall clock in microseconds since 1970: finer than history, and the same clock as the
/// engine's.
std::int64_t wallMicros();

/// A bulk create as an agent received it.
struct SeenBatch {
  std::int64_t arrived_us = 0;
  std::vector<AttemptId> attempts;
};

/// What went over all connections between the engine and its agents. Thread-safe.
class WireTap {
 public:
  /// A dialer whose connections are watched. The tap outlives it.
  std::unique_ptr<Dialer> watch(std::unique_ptr<Dialer> dialer);

  /// Attempts whose start the engine has acknowledged, so that it is durable.
  std::size_t acknowledgedStarts() const;
  std::int64_t lastAcknowledgedUs() const;
  /// Payloads in both directions, before compression and TLS.
  std::uint64_t bytes() const;
  /// Messages in both directions.
  std::uint64_t frames() const;
  /// Bulk creates since the last call, in the order of their arrival.
  std::vector<SeenBatch> takeBatches();

 private:
  class TappedConnection;
  class TappedDialer;
  void received(const std::string& message);
  void sent(const std::string& message);

  mutable std::mutex mutex_;
  std::set<AttemptId> acknowledged_;
  std::int64_t last_acknowledged_us_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t frames_ = 0;
  std::vector<SeenBatch> batches_;
};

}  // namespace vms::bench
