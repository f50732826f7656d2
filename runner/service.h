#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runner/events.h"
#include "runner/figures.h"
#include "runner/records.h"
#include "runner/store.h"

/// What the engine does for its clients, apart from how they reach it. The HTTP API is one caller.
namespace vms::runner {

namespace asio = boost::asio;

/// Who asks, as authenticated.
struct Principal {
  std::string name;  ///< The token's id; idempotency keys and audit belong to it.
  std::string role;  ///< viewer, operator, admin
};

/// One or many VMs. Exactly one of the three is set; `all` and `selector` are expanded by the
/// engine at the moment of acceptance.
struct VmSelection {
  std::vector<std::string> vms;                 ///< Names or ids.
  std::map<std::string, std::string> selector;  ///< Labels that must all match.
  bool all = false;
};

struct DefineVms {
  std::string xml;  ///< One `<domain>` or many in `<domains>`.
  std::optional<int> priority;
  std::optional<HaPolicy> ha;
  std::optional<int> tier;
  std::optional<std::vector<std::string>> after;
  std::optional<Gate> gate;
  std::optional<std::map<std::string, std::string>> labels;
};

/// Absent members stay as they are.
struct VmSettings {
  std::optional<int> priority;
  std::optional<HaPolicy> ha;
  std::optional<int> tier;
  std::optional<std::vector<std::string>> after;
  std::optional<Gate> gate;
  std::optional<std::map<std::string, std::string>> labels;  ///< An empty value removes a label.
};

struct VmView {
  VmRecord vm;
  /// stopped, queued, held, placed, sent, staged, building, running, ready, unknown
  std::string state;
  std::string state_reason;              ///< Why it is held or unknown; empty otherwise.
  std::optional<AttemptRecord> attempt;  ///< The open one.
  /// Of `vm.after`: what no VM is called. Allowed, because VMs are defined in any order and may be
  /// undefined again (S10); counts as met (S19).
  std::vector<std::string> after_undefined;
};

/// Rows that a page holds at most.
constexpr std::size_t kPageRows = 1'000;

struct VmPage {
  std::vector<VmView> vms;  ///< By name.
  std::string next_cursor;
};

struct StartRequest {
  VmSelection selection;
  std::optional<HostId> host;
  std::vector<HostId> avoid;
  std::optional<int> priority;  ///< Default: each VM's own.
  bool paused = false;
  std::optional<Duration> deadline;
  std::string idempotency_key;  ///< Empty: none. At most 255 printable ASCII characters.
  std::string body_hash;        ///< Of what the key must go with.
};

struct RequestPage {
  std::vector<RequestView> requests;  ///< Newest first.
  std::string next_cursor;
};

/// What a request would do to a VM now; nothing is reserved.
struct DryRunItem {
  std::string vm_name;
  std::string state;           ///< As VmView::state: what runs already stays where it is.
  std::optional<HostId> host;  ///< Where it would go, or where it is.
  std::string why_not;         ///< When there is no host.
};

struct StopVms {
  VmSelection selection;
  bool force = false;
};
struct StopItem {
  VmId vm;
  std::string vm_name;
  std::string state;  ///< stopping, stopped, cancelled, refused
  std::string error_class, error;
};

struct HostView {
  HostRecord host;
  /// ready, recovering, not_ready, draining, quarantined, unconfirmed, disconnected, forgotten
  std::string state;
  std::string state_reason;
  std::optional<WallTime> lease_until;
  std::uint64_t memory_free = 0, reserved_memory = 0;
  std::uint32_t running = 0, staged = 0, lane_width = 0, lane_busy = 0, queue_depth = 0;
  double starts_per_s = 0;                   ///< Over the last minute.
  std::uint32_t failures_recent = 0;         ///< Over the last ten minutes.
  std::vector<std::string> foreign_domains;  ///< There outside our control; by name.
  std::vector<std::string> moved_domains;    ///< Moved away by somebody else, and not found since.
};

struct StagingItem {
  AttemptRef ref;
  std::string vm_name;
  AttemptState state;
  WallTime since;
};

/// All on the engine's executor. Answers are released only once the state that they reveal is
/// durable (S13). Errors: Invalid, NotFound, Busy, KeyReused, RateLimited, StoreFull, TooLarge.
class Service {
 public:
  virtual ~Service() = default;

  /// All or none. Defining the same name and UUID again updates the VM; a name or a UUID that is
  /// taken by another VM is Busy. In the order of the document.
  virtual asio::awaitable<Result<std::vector<VmView>>> defineVms(Principal who, DefineVms what) = 0;
  /// Those with all labels of `selector`, after `cursor`.
  virtual asio::awaitable<Result<VmPage>> listVms(std::map<std::string, std::string> selector,
                                                  std::size_t limit, std::string cursor) = 0;
  virtual asio::awaitable<Result<VmView>> showVm(std::string name_or_id) = 0;
  virtual asio::awaitable<Result<VmView>> setVm(Principal who, std::string name_or_id,
                                                VmSettings settings) = 0;
  /// Busy while an attempt is open or unknown (S10).
  virtual asio::awaitable<Result<void>> undefineVm(Principal who, std::string name_or_id) = 0;

  /// One bulk request: durable with all its runs, or refused whole.
  virtual asio::awaitable<Result<RequestView>> createRequest(Principal who, StartRequest what) = 0;
  virtual asio::awaitable<Result<std::vector<DryRunItem>>> dryRun(StartRequest what) = 0;
  virtual asio::awaitable<Result<RequestView>> showRequest(RequestId id) = 0;
  virtual asio::awaitable<Result<RequestPage>> listRequests(std::size_t limit,
                                                            std::string cursor) = 0;
  virtual asio::awaitable<Result<RequestView>> cancelRequest(Principal who, RequestId id) = 0;
  virtual asio::awaitable<Result<std::unique_ptr<RequestWatch>>> watchRequest(RequestId id) = 0;
  /// All VMs, requests and hosts; goes on after `last` if it can. `on_change` is called, on the
  /// engine's executor, when `poll` may have something. Unavailable: too many watch already.
  virtual Result<std::unique_ptr<EventWatch>> watchEvents(EventKinds kinds,
                                                          std::optional<EventId> last,
                                                          std::function<void()> on_change) = 0;

  virtual asio::awaitable<Result<std::vector<StopItem>>> stopVms(Principal who, StopVms what) = 0;

  virtual asio::awaitable<Result<std::vector<HostView>>> listHosts() = 0;
  virtual asio::awaitable<Result<HostView>> showHost(HostId host) = 0;
  virtual asio::awaitable<Result<std::vector<StagingItem>>> staging(HostId host) = 0;
  virtual asio::awaitable<Result<HostView>> setDraining(Principal who, HostId host, bool on) = 0;
  /// Forgets an alarm or a quarantine after a person looked; after a restore, confirms the host
  /// (S8). Where there is neither, what was moved away from there counts as ended; `moved_domains`
  /// of the answer tells what still waits for that.
  virtual asio::awaitable<Result<HostView>> confirmHost(Principal who, HostId host) = 0;
  /// The host is off for good: it is listed no more, and nothing waits for it. `fenced`: a person
  /// says that nothing runs there, so its attempts have ended. Busy: it is connected, or something
  /// may run there and nobody says that it is off.
  virtual asio::awaitable<Result<HostView>> forgetHost(Principal who, HostId host, bool fenced) = 0;

  /// Of both, NotFound: a host, VM or request that exists neither now nor in the history.
  virtual asio::awaitable<Result<HistoryPage>> history(HistoryQuery query) = 0;
  virtual asio::awaitable<Result<HistoryStats>> historyStats(HistoryQuery query) = 0;

  /// Nothing keeps the engine from starting VMs: store loaded, not full, not waiting after a
  /// restore.
  virtual Result<void> readiness() const = 0;

  /// What is counted, for those who watch the engine.
  virtual EngineFigures figures() const = 0;

  /// Tokens by the hash of their secret; for authentication.
  virtual std::optional<TokenRecord> findToken(const std::string& hash) const = 0;
  virtual asio::awaitable<Result<void>> putToken(Principal who, TokenRecord token) = 0;
  virtual asio::awaitable<Result<std::vector<TokenRecord>>> listTokens() = 0;
};

}  // namespace vms::runner
