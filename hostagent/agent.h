#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hostagent/claim_journal.h"
#include "hostagent/hypervisor.h"
#include "schema/base/clock.h"
#include "schema/base/error.h"
#include "schema/base/faults.h"
#include "schema/base/rng.h"
#include "schema/base/transport.h"
#include "schema/ids.h"

namespace vms::hostagent {

/// What this host offers to domains.
struct AgentCapacity {
  std::uint32_t cpus = 1;
  std::uint64_t memory = 0;  ///< Bytes; what the host needs itself is already off.
};

struct AgentOptions {
  HostId host;                ///< Must equal the CN of the certificate that the dialer presents.
  std::string boot_id;        ///< Changes with every boot of the host, never within one (S3).
  std::string hardware_uuid;  ///< Stays for the life of the hardware.
  std::string agent_version;
  /// Of the host's boot. Null: the clock's own start counts as the boot.
  std::function<Duration()> uptime;
  AgentCapacity capacity;

  std::size_t create_width = 4;  ///< Builds at once; at least 1.
  std::size_t destroy_width = 8;
  std::size_t intake = 0;  ///< Accepted and not yet in a lane; 0: max(256, 8 * create_width).
  std::size_t max_bulk_items = 10'000;  ///< A bulk create with more ends the session.

  Duration heartbeat = seconds(1);
  /// Without any frame for so long, or for three of the engine's heartbeats, the session is cut.
  Duration engine_silence = seconds(10);
  Duration reconnect_min = milliseconds(200);
  Duration reconnect_max = seconds(10);
  Duration resend = seconds(3);  ///< Results that were not acknowledged are sent again.
  /// Beyond this age of its last good answer the hypervisor counts as away (S15); also how long a
  /// create that has touched nothing waits for it before it fails as host_not_ready.
  Duration hypervisor_timeout = seconds(10);
  Duration retry_min = milliseconds(200);  ///< Between tries of a hypervisor operation.
  Duration retry_max = seconds(5);
  Duration goodbye = seconds(1);  ///< How long a stop waits for the last heartbeat to leave.
};

/// Everything that the agent needs from outside. Referred to, not owned; must outlive the agent.
struct AgentSeams {
  Clock& clock;
  Dialer& dialer;
  ClaimJournal& journal;
  Hypervisor& hypervisor;
  Rng& rng;
  Faults& faults;
};

enum class AgentReadiness { Recovering, Ready, HypervisorAway, Stopping };
std::string_view nameOf(AgentReadiness readiness) noexcept;

/// A look inside, for status pages and tests. Counts are of this moment.
struct AgentStatus {
  AgentReadiness readiness = AgentReadiness::Recovering;
  std::string not_ready_reason;
  SessionNumber session = 0;  ///< 0: no session.
  Term term;                  ///< Highest met.
  std::size_t credits = 0;
  std::size_t lane_width = 0;
  std::size_t lane_busy = 0;
  std::size_t queue_depth = 0;
  std::size_t staged = 0;
  std::size_t running = 0;
  std::size_t unacknowledged = 0;  ///< Results that the engine has not made durable yet.
};

struct AgentCore;

/// The host agent: dials the engine, claims, builds, watches and ends domains, and delivers every
/// result until it is acknowledged. See "Host agent" in the documentation.
///
/// One executor, no threads, no time but the clock's, no chance but the rng's. The agent may be
/// destroyed while its coroutines are suspended, if nothing runs on its executor afterwards (the
/// simulator's crash): no destructor in a coroutine frame touches the agent or a seam.
class Agent {
 public:
  Agent(asio::any_io_executor executor, AgentSeams seams, AgentOptions options);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  /// Loads the journal, then works until `stop()` or until the journal cannot be read (`failure()`
  /// says so). Call once.
  asio::awaitable<void> run();

  /// Ends `run()` within 5 s: says goodbye, abandons waits, stops the hypervisor seam. Domains go
  /// on; what is under way is finished by `recover` at the next start. Idempotent.
  void stop();

  /// Why `run()` ended by itself.
  const std::optional<Error>& failure() const;

  AgentStatus status() const;
  /// The published domains of this host that carry our claim.
  std::vector<Claim> published() const;

 private:
  std::unique_ptr<AgentCore> core_;
};

}  // namespace vms::hostagent
