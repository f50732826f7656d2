#include "hostagent/libvirt/libvirt_link.h"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <utility>

#include "hostagent/libvirt/domain_calls.h"
#include "schema/base/log.h"

namespace vms::hostagent {
namespace {

constexpr Duration kConnectTimeout = seconds(5);
/// The first question after a start of libvirtd makes it probe its emulators.
constexpr Duration kFactsTimeout = seconds(60);

}  // namespace

struct LibvirtLink::HostFacts {
  std::string host_uuid;
  std::uint64_t serial = 0;
  std::optional<DaemonInstance> daemon;
};

Result<LibvirtLink::HostFacts> LibvirtLink::readHostFacts(VirtConnection& connection) {
  Result<std::string> uuid = callHostUuid(connection);
  if (!uuid) return uuid.error();
  HostFacts facts;
  facts.host_uuid = std::move(*uuid);
  facts.serial = connection.serial();
  facts.daemon = connection.daemon();
  return facts;
}

LibvirtLink::LibvirtLink(asio::any_io_executor owner, Clock& clock, Rng& rng,
                         const LibvirtOptions& options)
    : clock_(clock),
      rng_(rng),
      options_(options),
      target_(targetOf(options.uri)),
      mailbox_(std::make_shared<Mailbox>(owner)),
      self_(std::make_shared<LibvirtLink*>(this)),
      desk_(owner, mailbox_),
      query_("libvirt-query", 1, options.calls_per_connection, opener(options)),
      closed_timer_(owner, asio::steady_timer::time_point::max()),
      last_answer_(clock.now()) {
  desk_.onEnd([this](const CallEnd& end) { onCallEnd(end); });
}

LibvirtLink::~LibvirtLink() { mailbox_->close(); }

void LibvirtLink::start(TaskGroup& tasks, std::function<void(HypervisorEvent)> on_event) {
  on_event_ = std::move(on_event);
  last_answer_ = clock_.now();
  reason_ = "connecting to libvirt at " + options_.uri;
  tasks.spawn("libvirt connection", [this] { return keepConnected(); });
  tasks.spawn("libvirt probe", [this] { return probeWhenIdle(); });
}

void LibvirtLink::shutDown() {
  stopping_ = true;
  connected_ = false;
  reason_ = "the agent is stopping";
  desk_.shutDown();
}

/// It runs on pool threads, perhaps when this object is gone: it holds values only.
ConnectionPool::Opener LibvirtLink::opener(const LibvirtOptions& options) {
  VirtSettings settings;
  settings.uri = options.uri;
  settings.keepalive_interval_s = static_cast<unsigned>(
      std::chrono::duration_cast<seconds>(options.keepalive_interval).count());
  settings.keepalive_count = static_cast<unsigned>(options.keepalive_count);
  const std::weak_ptr<LibvirtLink*> self = self_;
  VirtCallbacks callbacks;
  callbacks.on_event = [mailbox = mailbox_, self](HypervisorEvent event) {
    mailbox->post([self, event] {
      if (const auto alive = self.lock()) (*alive)->emit(event);
    });
  };
  callbacks.on_close = [mailbox = mailbox_, self](std::uint64_t serial, std::string why) {
    mailbox->post([self, serial, why = std::move(why)] {
      if (const auto alive = self.lock()) (*alive)->onClosed(serial, why);
    });
  };
  return [settings, callbacks] { return VirtConnection::open(settings, callbacks); };
}

void LibvirtLink::emit(HypervisorEvent event) {
  if (on_event_ && !stopping_) on_event_(event);
}

void LibvirtLink::emit(HypervisorEvent::Kind kind) {
  HypervisorEvent event;
  event.kind = kind;
  emit(event);
}

void LibvirtLink::onClosed(std::uint64_t serial, const std::string& why) {
  closed_serial_ = std::max(closed_serial_, serial);
  if (serial == serial_ && close_reason_.empty()) close_reason_ = why;
  closed_timer_.cancel();
}

void LibvirtLink::onCallEnd(const CallEnd& end) {
  if (end.reached) last_answer_ = clock_.now();
  if (end.lost && end.serial == serial_) onClosed(end.serial, end.why);
}

asio::awaitable<void> LibvirtLink::keepConnected() {
  Duration backoff = options_.reconnect_min;
  for (;;) {
    const Result<HostFacts> facts = co_await connect();
    if (!facts) {
      setReason(facts.error().message);
      const Duration pause = rng_.between(backoff / 2, backoff);
      backoff = std::min(backoff * 2, options_.reconnect_max);
      co_await clock_.sleepFor(pause);
      continue;
    }
    backoff = options_.reconnect_min;
    onConnected(*facts);
    co_await untilClosed();
    onDisconnected();
  }
}

asio::awaitable<Result<LibvirtLink::HostFacts>> LibvirtLink::connect() {
  const TimePoint began = clock_.now();
  std::function<Result<void>(VirtConnection&)> ping = callPing;
  const Result<void> alive =
      co_await desk_.ask<void>(query_, kConnectTimeout, "connecting", std::move(ping));
  if (!alive && clock_.now() - began >= kConnectTimeout) {
    co_return Error(ErrorClass::HostNotReady,
                    "libvirt at " + options_.uri + " gives no answer: libvirtd hangs or is " +
                        "overloaded; look at its state and log, restart it if need be");
  }
  if (!alive) co_return alive.error();
  std::function<Result<HostFacts>(VirtConnection&)> read = readHostFacts;
  Result<HostFacts> facts =
      co_await desk_.ask<HostFacts>(query_, kFactsTimeout, "host facts", std::move(read));
  co_return facts;
}

void LibvirtLink::onConnected(const HostFacts& facts) {
  serial_ = facts.serial;
  daemon_ = facts.daemon;
  identity_.uri = options_.uri;
  identity_.local = target_.local;
  identity_.host_uuid = facts.host_uuid;
  // Its domains end with this process, so that another process is another hypervisor.
  if (target_.volatile_domains) identity_.host_uuid += "/process-" + std::to_string(::getpid());
  connected_ = true;
  close_reason_ = closed_serial_ < serial_ ? "" : "it closed at once";
  log::info("libvirt: connected to {}", options_.uri);
  emit(HypervisorEvent::Kind::ConnectionRestored);
}

void LibvirtLink::onDisconnected() {
  connected_ = false;
  setReason("libvirt at " + options_.uri + " was lost (" + close_reason_ + "); reconnecting");
  query_.renewConnections();
  emit(HypervisorEvent::Kind::ConnectionLost);
}

asio::awaitable<void> LibvirtLink::untilClosed() {
  while (closed_serial_ < serial_) {
    boost::system::error_code ignored;
    co_await closed_timer_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    const auto cancellation = co_await asio::this_coro::cancellation_state;
    if (cancellation.cancelled() != asio::cancellation_type::none) {
      throw boost::system::system_error(asio::error::operation_aborted);
    }
  }
}

void LibvirtLink::setReason(std::string reason) {
  if (reason != reason_) log::warn("libvirt: {}", reason);
  reason_ = std::move(reason);
}

/// One sign of life at a time, so that a driver that hangs behind its daemon shows as age.
asio::awaitable<void> LibvirtLink::probeWhenIdle() {
  for (;;) {
    co_await clock_.sleepFor(options_.idle_probe / 4);
    if (!connected_ || probing_ || lastAnswerAge() < options_.idle_probe) continue;
    probing_ = true;
    std::function<Result<void>(VirtConnection&)> work = callPing;
    std::function<void(const CallEnd&)> on_end = [this](const CallEnd&) { probing_ = false; };
    const Result<void> alive = co_await desk_.ask<void>(query_, options_.query_timeout, "probe",
                                                        std::move(work), std::move(on_end));
    if (!alive && alive.error().error_class == ErrorClass::HostNotReady) probing_ = false;
  }
}

}  // namespace vms::hostagent
