#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runner/records.h"
#include "schema/base/error.h"

/// What clients watch.
namespace vms::runner {

namespace asio = boost::asio;

/// Counts partition `total` by the run's state or its open attempt's.
struct RequestView {
  RequestRecord request;
  std::string state;  ///< active, succeeded, failed, cancelled (cancelled: nothing failed)
  std::uint32_t queued = 0, placed = 0, sent = 0, staged = 0, building = 0, running = 0, ready = 0,
                failed = 0, held = 0, unknown = 0, cancelled = 0;
  std::uint32_t batches = 0;  ///< Bulk create messages that carried its runs.
  std::optional<Duration> eta;
  struct Failure {
    std::string vm_name, host, error_class, error;
  };
  std::vector<Failure> failures;  ///< First 100, failed and held, by position.
};

/// One change that a client can watch. `generation` changes with every engine start; within one,
/// `commit` never goes back (S26).
struct RequestEvent {
  std::uint64_t generation = 0;
  CommitNumber commit;
  RequestView view;
};

/// Progress of one request: a snapshot first, then the newest state after each change; a reader
/// that lags skips intermediate states and never holds anything up.
class RequestWatch {
 public:
  virtual ~RequestWatch() = default;
  /// The next change; NotFound when the request is forgotten. After a finished view, Unavailable.
  virtual asio::awaitable<Result<RequestEvent>> next() = 0;
};

/// Where a VM stands.
struct VmEvent {
  VmId vm;
  std::string vm_name;
  std::string state;         ///< As VmView::state; undefined: it is gone.
  std::string state_reason;  ///< Why it is held or unknown; empty otherwise.
  HostId host;               ///< Of its open attempt; empty: none.
  bool operator==(const VmEvent&) const = default;
};

/// Where a host stands.
struct HostEvent {
  HostId host;
  std::string state, state_reason;  ///< As in HostView.
  bool operator==(const HostEvent&) const = default;
};

/// What a client wants to see of everything.
struct EventKinds {
  bool vms = true, requests = true, hosts = true;
  bool operator==(const EventKinds&) const = default;
};

/// How far a client has come (S26).
struct EventId {
  std::uint64_t generation = 0;
  std::uint64_t commit = 0;
};

/// One step of a client that watches everything: part of a snapshot, or what has changed since.
struct EventPiece {
  bool reset = false;     ///< What the client knows no longer counts; a snapshot begins.
  bool snapshot = false;  ///< Otherwise a delta.
  bool complete = false;  ///< The client has everything up to `id`; otherwise more follows at once.
  EventId id;
  std::vector<VmEvent> vms;
  std::vector<RequestView> requests;  ///< Without failures.
  std::vector<HostEvent> hosts;
};

/// Changes of everything, for one client: a snapshot of all VMs, hosts and active requests, then
/// the newest state of what changed. A client that lags skips states in between, and gets a reset
/// when what it has missed is no longer known. On the engine's executor.
class EventWatch {
 public:
  virtual ~EventWatch() = default;
  /// What comes next; null: nothing yet. Unavailable: the engine is stopping.
  virtual Result<std::shared_ptr<const EventPiece>> poll() = 0;
};

}  // namespace vms::runner
