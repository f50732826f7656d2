#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstddef>
#include <memory>
#include <string>

#include "hostagent/hypervisor.h"
#include "schema/base/clock.h"
#include "schema/base/rng.h"

namespace vms::hostagent {

/// How to talk to one libvirt. Every default suits an untouched libvirtd.
struct LibvirtOptions {
  std::string uri = "qemu:///system";

  /// Connections for creates, and others for resume, shutdown and destroy; one more is kept for
  /// queries and events. Each carries at most `calls_per_connection` calls at once, which must stay
  /// below libvirtd's max_client_requests (default 5), or keepalives wait behind creates. What
  /// comes beyond connections * calls waits here, on this host.
  std::size_t create_connections = 4;
  std::size_t control_connections = 4;
  std::size_t calls_per_connection = 4;

  Duration query_timeout = seconds(10);  ///< Look-ups and lists.
  Duration call_timeout = seconds(60);   ///< Resume, shutdown, destroy with its verification.
  Duration create_timeout = seconds(300);
  /// How long a lost create waits for libvirt to be back before it becomes UnknownOutcome.
  Duration settle_timeout = seconds(15);

  /// Keepalive of the query connection, whole seconds: a hung daemon is noticed after about
  /// interval * (count + 1). Create connections use slower ones, so that load does not cut them.
  Duration keepalive_interval = seconds(1);
  int keepalive_count = 3;

  Duration reconnect_min = milliseconds(200);  ///< Doubles up to `reconnect_max`, with jitter.
  Duration reconnect_max = seconds(5);
  Duration idle_probe = seconds(2);  ///< Asks for a sign of life after this much silence.
  /// Least time between the two looks that settle a lost call
  /// (docs/adr/0003-lost-libvirt-calls.md).
  Duration lost_call_gap = seconds(2);

  /// Where libvirt keeps its domain logs; `whyEnded` reads NAME.log there. Empty: not read.
  std::string domain_log_directory = "/var/log/libvirt/qemu";
};

/// A Hypervisor on libvirt. `clock` and `rng` outlive it; `owner` is the agent's executor. Await
/// `stop()` before destroying it, unless nothing runs on `owner` afterwards.
///
/// Blocking calls run on threads of its own. A hung libvirtd never blocks the owner nor `stop()`:
/// threads that are stuck in a call are then left behind; they hold nothing but their own state and
/// end with the call or the process. libvirt's event loop is one per process and lives as long.
std::unique_ptr<Hypervisor> makeLibvirtHypervisor(asio::any_io_executor owner, Clock& clock,
                                                  Rng& rng, LibvirtOptions options);

}  // namespace vms::hostagent
