#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runner/records.h"
#include "schema/base/rng.h"

namespace vms::bench {

/// What a history looks like.
struct HistoryShape {
  std::uint64_t attempts = 1'000'000;
  std::uint32_t hosts = 20;
  std::uint32_t vms = 20'000;
  std::uint32_t per_host_day = 20'000;  ///< Attempts that one host sees in one day.
  std::uint64_t seed = 1;
};

/// Makes the rows of a history, oldest first: requests for one lab of VMs each, every VM with its
/// item, its run and one finished attempt. The same shape and end give the same rows.
class HistoryRows {
 public:
  static constexpr std::uint32_t kLab = 50;  ///< VMs of one request.

  /// The newest request is made shortly before `end`.
  HistoryRows(const HistoryShape& shape, WallTime end);

  /// As if those of `shape` had been made already; `vms` is what a store has of them.
  void skip(const std::vector<runner::VmRecord>& vms);
  /// The VMs, defined and without attempts.
  std::vector<runner::Change> vms();
  /// The next request with all of its rows.
  std::vector<runner::Change> request();
  /// What one turn of an engine commits when a lab is started: one new request and, for each of its
  /// VMs, an epoch, an item, a run and an attempt that was just sent.
  std::vector<runner::Change> turn(WallTime now, std::uint32_t vms);

  WallTime begin() const { return begin_; }
  WallTime end() const { return end_; }
  std::uint64_t attempts() const { return made_; }
  std::uint64_t rows() const { return rows_; }
  std::string host(std::uint64_t number) const;

 private:
  struct Place {
    std::uint32_t vm = 0;
    std::string host;
  };
  Place place();
  runner::VmRecord vm(std::uint32_t number) const;
  runner::RequestRecord requestAt(WallTime at, std::uint32_t total);
  runner::RunRecord runOf(const runner::RequestRecord& request, std::uint32_t vm);
  runner::AttemptRecord attemptOf(const runner::RunRecord& run, const Place& place);
  void finish(runner::RunRecord& run, runner::AttemptRecord& attempt);
  WallTime after(WallTime time, std::uint64_t around_ms);

  HistoryShape shape_;
  Rng rng_;
  WallTime begin_, end_;
  std::vector<Uuid> vm_ids_;
  std::vector<std::uint64_t> epochs_;
  std::uint64_t made_ = 0, rows_ = 0;
};

}  // namespace vms::bench
