#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "batcher/batch_window.h"
#include "batcher/retry_policy.h"
#include "schema/base/time.h"

namespace vms::runner {

/// What a site can tune; every member has a safe default. Read once at start.
struct EngineOptions {
  batcher::WindowPolicy window;
  batcher::RetryOptions retry;

  double vcpu_ratio = 16.0;  ///< vCPUs that one physical CPU may carry.

  Duration heartbeat = seconds(1);
  Duration suspect_after = seconds(3);        ///< Silence until a host gets no new work.
  Duration host_timeout = seconds(10);        ///< Silence until its attempts are UNKNOWN.
  Duration hypervisor_timeout = seconds(15);  ///< Age of its last answer until `not ready` (S15).
  Duration hello_timeout = seconds(10);
  Duration duplicate_probe = seconds(1);    ///< How long an old session may stay silent.
  Duration ask_again = seconds(5);          ///< Between repeated questions about one attempt.
  Duration progress_timeout = seconds(60);  ///< Without news of an attempt until the host is asked.
  Duration last_seen_interval = seconds(5);  ///< How stale a durable `last_seen` may be (S3).

  std::size_t max_vms = 500'000;
  std::size_t max_open_runs = 200'000;  ///< More are refused as RateLimited.
  std::size_t max_request_vms = 10'000;
  std::size_t max_hosts = 10'000;
  /// VMs of one host under attempts that this store does not know; with more it is another's (S8).
  std::size_t max_strangers = 10'000;
  std::size_t recent_attempts_per_host = 200;
};

}  // namespace vms::runner
