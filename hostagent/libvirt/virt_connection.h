#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "hostagent/hypervisor.h"
#include "hostagent/libvirt/daemon_instance.h"
#include "hostagent/libvirt/known_domains.h"
#include "schema/base/error.h"

struct _virConnect;  // NOLINT(bugprone-reserved-identifier): the name is libvirt's.

namespace vms::hostagent {

/// What a connection reports by itself, on libvirt's event thread: return at once, call nothing of
/// the connection.
struct VirtCallbacks {
  std::function<void(HypervisorEvent)> on_event;  ///< Empty: no events wanted.
  /// The connection is dead for good; `why` is for people.
  std::function<void(std::uint64_t serial, std::string why)> on_close;
};

struct VirtSettings {
  std::string uri;
  unsigned keepalive_interval_s = 1;  ///< 0: none.
  unsigned keepalive_count = 3;
};

/// One connection to libvirt. Its operations (domain_calls.h) block and may run in several threads
/// at once. Open and destroy it on a thread that may block.
class VirtConnection {
 public:
  /// HostNotReady: not reachable; the message says what to do.
  static Result<std::shared_ptr<VirtConnection>> open(const VirtSettings& settings,
                                                      VirtCallbacks callbacks);
  ~VirtConnection();
  VirtConnection(const VirtConnection&) = delete;
  VirtConnection& operator=(const VirtConnection&) = delete;

  /// Grows with every connection of the process.
  std::uint64_t serial() const { return serial_; }
  /// False once libvirt closed it or a call found it broken; it never recovers.
  bool usable() const { return usable_->load(); }
  void markBroken() { usable_->store(false); }

  /// The daemon's life that serves this connection; none in process, afar, or out of sight.
  const std::optional<DaemonInstance>& daemon() const { return daemon_; }
  /// The test driver cannot start a domain paused.
  bool startsPaused() const { return starts_paused_; }
  /// Whether the driver is known to change the metadata of a domain that exists.
  bool changesMetadata() const { return changes_metadata_; }
  _virConnect* raw() const { return raw_; }
  /// What lists on this connection have learned.
  KnownDomains& known() { return known_; }

 private:
  VirtConnection(_virConnect* raw, std::optional<DaemonInstance> daemon);
  void watch(const VirtSettings& settings, VirtCallbacks callbacks);

  _virConnect* raw_;
  std::optional<DaemonInstance> daemon_;
  std::uint64_t serial_;
  std::shared_ptr<std::atomic<bool>> usable_ = std::make_shared<std::atomic<bool>>(true);
  KnownDomains known_;
  bool starts_paused_ = true;
  bool changes_metadata_ = false;
  bool watches_close_ = false;
  int event_id_ = -1;
};

}  // namespace vms::hostagent
