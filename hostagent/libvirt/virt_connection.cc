#include "hostagent/libvirt/virt_connection.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <string_view>
#include <utility>

#include "hostagent/libvirt/errors.h"
#include "hostagent/libvirt/event_loop.h"

namespace vms::hostagent {
namespace {

struct CloseWatch {
  std::uint64_t serial;
  std::shared_ptr<std::atomic<bool>> usable;
  std::function<void(std::uint64_t, std::string)> on_close;
};

void onClose(virConnectPtr, int reason, void* opaque) {
  auto* const watch = static_cast<CloseWatch*>(opaque);
  std::string why = "the connection broke";
  if (reason == VIR_CONNECT_CLOSE_REASON_EOF) why = "libvirtd closed the connection or ended";
  if (reason == VIR_CONNECT_CLOSE_REASON_KEEPALIVE) why = "libvirtd answers no keepalive: it hangs";
  watch->usable->store(false);
  if (watch->on_close) watch->on_close(watch->serial, std::move(why));
}

StopReason stopReasonOf(int detail) {
  switch (detail) {
    case VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN:
      return StopReason::Shutdown;
    case VIR_DOMAIN_EVENT_STOPPED_DESTROYED:
      return StopReason::Destroyed;
    case VIR_DOMAIN_EVENT_STOPPED_MIGRATED:
      return StopReason::Migrated;
    case VIR_DOMAIN_EVENT_STOPPED_SAVED:
    case VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT:
      return StopReason::Saved;
    case VIR_DOMAIN_EVENT_STOPPED_CRASHED:
    case VIR_DOMAIN_EVENT_STOPPED_FAILED:  // The emulator went away without a shutdown.
    default:
      return StopReason::Crashed;
  }
}

std::optional<HypervisorEvent> eventOf(virDomainPtr domain, int event, int detail) {
  HypervisorEvent result;
  switch (event) {
    case VIR_DOMAIN_EVENT_STARTED:
      result.kind = HypervisorEvent::Kind::Started;
      break;
    case VIR_DOMAIN_EVENT_RESUMED:
      result.kind = HypervisorEvent::Kind::Resumed;
      break;
    case VIR_DOMAIN_EVENT_SUSPENDED:
    case VIR_DOMAIN_EVENT_CRASHED:  // The guest, not the domain.
      result.kind = HypervisorEvent::Kind::Suspended;
      break;
    case VIR_DOMAIN_EVENT_STOPPED:
      result.kind = HypervisorEvent::Kind::Stopped;
      result.reason = stopReasonOf(detail);
      break;
    default:
      return std::nullopt;
  }
  char uuid[VIR_UUID_STRING_BUFLEN] = {};
  if (virDomainGetUUIDString(domain, uuid) != 0) return std::nullopt;
  const std::optional<Uuid> parsed = Uuid::parse(uuid);
  if (!parsed) return std::nullopt;
  result.vm = VmId{*parsed};
  return result;
}

using EventWatch = std::function<void(HypervisorEvent)>;

int onLifecycle(virConnectPtr, virDomainPtr domain, int event, int detail, void* opaque) {
  const std::optional<HypervisorEvent> known = eventOf(domain, event, detail);
  if (known) (*static_cast<EventWatch*>(opaque))(*known);
  return 0;
}

template <class T>
void deleteAs(void* opaque) {
  delete static_cast<T*>(opaque);
}

Error notReachable(const VirtSettings& settings, const Error& cause) {
  std::string advice = "start libvirtd, or correct the hypervisor's uri in the configuration";
  if (cause.error_class == ErrorClass::Forbidden ||
      cause.message.find("Permission denied") != std::string::npos) {
    advice = "let the agent's user use libvirt's socket (group libvirt)";
  }
  return {ErrorClass::HostNotReady, cause.message + "; " + advice + " (uri " + settings.uri + ")"};
}

std::uint64_t nextSerial() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

}  // namespace

VirtConnection::VirtConnection(_virConnect* raw, std::optional<DaemonInstance> daemon)
    : raw_(raw), daemon_(daemon), serial_(nextSerial()) {
  const char* const type = virConnectGetType(raw);
  const std::string_view driver = type == nullptr ? "" : type;
  starts_paused_ = driver != "TEST";
  changes_metadata_ = driver == "QEMU" || driver == "TEST";
}

Result<std::shared_ptr<VirtConnection>> VirtConnection::open(const VirtSettings& settings,
                                                             VirtCallbacks callbacks) {
  ensureLibvirtEventLoop();
  const LibvirtTarget target = targetOf(settings.uri);
  _virConnect* raw = virConnectOpen(settings.uri.c_str());
  if (raw == nullptr) return notReachable(settings, lastLibvirtError("connect"));
  std::optional<DaemonInstance> daemon = daemonOfOwnConnections(target.socket);
  // Connections to several daemons are open. The one that listens before and after we connect is
  // the one we are connected to.
  constexpr int kTries = 3;
  for (int i = 0; i < kTries && !daemon && !target.socket.empty(); ++i) {
    const std::optional<DaemonInstance> before = daemonBehind(target.socket);
    if (!before) break;
    virConnectClose(raw);
    raw = virConnectOpen(settings.uri.c_str());
    if (raw == nullptr) return notReachable(settings, lastLibvirtError("connect"));
    if (daemonBehind(target.socket) == before) daemon = before;
  }
  std::shared_ptr<VirtConnection> connection(new VirtConnection(raw, daemon));
  connection->watch(settings, std::move(callbacks));
  return connection;
}

void VirtConnection::watch(const VirtSettings& settings, VirtCallbacks callbacks) {
  // Drivers without a daemon have neither keepalives nor a close callback; they cannot break.
  if (settings.keepalive_interval_s > 0) {
    virConnectSetKeepAlive(raw_, static_cast<int>(settings.keepalive_interval_s),
                           settings.keepalive_count);
  }
  // ... and libvirt accepts a close callback for them without keeping or ever freeing it.
  const bool in_process =
      settings.uri.starts_with("test:") || settings.uri.find(":///embed") != std::string::npos;
  if (!in_process) {
    auto close = std::make_unique<CloseWatch>();
    close->serial = serial_;
    close->usable = usable_;
    close->on_close = std::move(callbacks.on_close);
    watches_close_ =
        virConnectRegisterCloseCallback(raw_, onClose, close.get(), deleteAs<CloseWatch>) == 0;
    if (watches_close_) static_cast<void>(close.release());
  }

  if (!callbacks.on_event) return;
  auto events = std::make_unique<EventWatch>(std::move(callbacks.on_event));
  event_id_ = virConnectDomainEventRegisterAny(raw_, nullptr, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                               VIR_DOMAIN_EVENT_CALLBACK(onLifecycle), events.get(),
                                               deleteAs<EventWatch>);
  if (event_id_ >= 0) {
    static_cast<void>(events.release());
  } else {
    markBroken();
  }
}

VirtConnection::~VirtConnection() {
  if (event_id_ >= 0) virConnectDomainEventDeregisterAny(raw_, event_id_);
  if (watches_close_) virConnectUnregisterCloseCallback(raw_, onClose);
  virConnectClose(raw_);
}

}  // namespace vms::hostagent
