#include "hostagent/libvirt/libvirt_hypervisor.h"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <deque>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "hostagent/libvirt/call_desk.h"
#include "hostagent/libvirt/domain_calls.h"
#include "hostagent/libvirt/domain_claim_xml.h"
#include "hostagent/libvirt/domain_log.h"
#include "hostagent/libvirt/lost_calls.h"
#include "schema/base/log.h"
#include "schema/base/task_group.h"

namespace vms::hostagent {
namespace {

constexpr Duration kSettlePoll = milliseconds(200);
constexpr Duration kLostCallsPoll = milliseconds(500);
constexpr Duration kStopPoll = milliseconds(10);
constexpr Duration kStopPatience = milliseconds(2'500);
constexpr Duration kConnectTimeout = seconds(5);
constexpr Duration kListTimeout = seconds(60);
constexpr Duration kBarrierTimeout = seconds(300);
constexpr std::size_t kRememberedEnds = 4096;
/// Under load libvirtd may be slow to answer keepalives; a cut create costs more than a late
/// notice.
constexpr unsigned kPatientKeepaliveS = 5;
constexpr unsigned kPatientKeepaliveCount = 6;

struct HostFacts {
  std::string host_uuid;
  std::uint64_t serial = 0;
  std::optional<DaemonInstance> daemon;
};

Result<HostFacts> readHostFacts(VirtConnection& connection) {
  Result<std::string> uuid = callHostUuid(connection);
  if (!uuid) return uuid.error();
  HostFacts facts;
  facts.host_uuid = std::move(*uuid);
  facts.serial = connection.serial();
  facts.daemon = connection.daemon();
  return facts;
}

/// For operations that only ask: an answer that was lost is no more than none.
template <class T>
Result<T> readOnly(Result<T> result) {
  if (!result && result.error().error_class == ErrorClass::UnknownOutcome) {
    return Error(ErrorClass::HostNotReady, result.error().message);
  }
  return result;
}

class LibvirtHypervisor final : public Hypervisor {
 public:
  LibvirtHypervisor(asio::any_io_executor owner, Clock& clock, Rng& rng, LibvirtOptions options)
      : owner_(owner),
        clock_(clock),
        rng_(rng),
        options_(std::move(options)),
        target_(targetOf(options_.uri)),
        mailbox_(std::make_shared<Mailbox>(owner)),
        desk_(owner, mailbox_),
        query_("libvirt-query", 1, options_.calls_per_connection, queryOpener()),
        create_("libvirt-create", options_.create_connections, options_.calls_per_connection,
                patientOpener()),
        control_("libvirt-control", options_.control_connections, options_.calls_per_connection,
                 patientOpener()),
        barrier_("libvirt-barrier", 1, 1, patientOpener()),
        lost_timer_(owner, asio::steady_timer::time_point::max()),
        last_answer_(clock.now()),
        reason_("not started yet"),
        tasks_(owner) {
    desk_.onEnd([this](const CallEnd& end) { onCallEnd(end); });
  }

  ~LibvirtHypervisor() override { mailbox_->close(); }

  void start(std::function<void(HypervisorEvent)> on_event) override {
    on_event_ = std::move(on_event);
    last_answer_ = clock_.now();
    reason_ = "connecting to libvirt at " + options_.uri;
    tasks_.spawn("libvirt connection", [this] { return keepConnected(); });
    tasks_.spawn("libvirt probe", [this] { return probeWhenIdle(); });
    tasks_.spawn("libvirt lost calls", [this] { return settleLostCalls(); });
  }

  asio::awaitable<void> stop() override {
    stopping_ = true;
    connected_ = false;
    reason_ = "the agent is stopping";
    desk_.shutDown();
    tasks_.cancel();
    co_await tasks_.join();
    for (ConnectionPool* pool : pools()) pool->close();
    // Threads that hang in libvirt stay behind with what they hold; the rest ends in milliseconds.
    const TimePoint patience = clock_.now() + kStopPatience;
    while (threads() > 0 && clock_.now() < patience) co_await clock_.sleepFor(kStopPoll);
    if (threads() > 0) {
      log::warn("libvirt: {} calls hang and are left behind; is libvirtd stopped?", threads());
    }
    mailbox_->close();
  }

  bool connected() const override { return connected_; }
  Duration lastAnswerAge() const override { return clock_.now() - last_answer_; }
  std::string notReadyReason() const override { return connected_ ? std::string() : reason_; }

  asio::awaitable<Result<HypervisorIdentity>> identity() override {
    if (!connected_) co_return notReady();
    co_return identity_;
  }

  asio::awaitable<Result<std::vector<DomainInfo>>> list() override {
    if (!connected_) co_return notReady();
    std::function<Result<std::vector<DomainInfo>>(VirtConnection&)> work = callList;
    auto result =
        co_await desk_.ask<std::vector<DomainInfo>>(query_, kListTimeout, "list", std::move(work));
    co_return readOnly(std::move(result));
  }

  asio::awaitable<Result<std::optional<DomainInfo>>> lookUp(VmId vm) override {
    if (!connected_) co_return notReady();
    std::function<Result<std::optional<DomainInfo>>(VirtConnection&)> work =
        [vm](VirtConnection& connection) { return callLookUp(connection, vm); };
    std::string what = "look-up of vm " + vm.str();
    auto result = co_await desk_.ask<std::optional<DomainInfo>>(query_, options_.query_timeout,
                                                                std::move(what), std::move(work));
    co_return readOnly(std::move(result));
  }

  asio::awaitable<Result<DomainInfo>> createPaused(DomainSpec spec, Claim claim) override {
    if (!connected_) co_return notReady();
    Result<std::string> xml = addClaim(spec.xml, claim);
    if (!xml) co_return xml.error();
    CreateOrder order;
    order.claim = claim;
    order.name = spec.name;
    order.xml = std::move(*xml);
    order.memory = spec.memory;
    order.vcpus = spec.vcpus;
    forgetEnd(claim.ref.vm);

    const LostCalls::Token token = lost_calls_.sent(claim.ref);
    std::function<Result<DomainInfo>(VirtConnection&)> work =
        [order = std::move(order)](VirtConnection& connection) {
          return callCreatePaused(connection, order);
        };
    std::function<void(const CallEnd&)> on_end = [this, token](const CallEnd& end) {
      onCreateEnd(token, end);
    };
    std::string what = "create of vm " + spec.name + " (" + claim.ref.vm.str() + ")";
    Result<DomainInfo> result = co_await desk_.ask<DomainInfo>(
        create_, options_.create_timeout, what, std::move(work), std::move(on_end));
    const bool lost = !result && result.error().error_class == ErrorClass::UnknownOutcome;
    if (!lost) lost_calls_.answered(token);
    const bool starting = result && result->state == DomainState::Starting;
    if (!lost && !starting) co_return result;
    Error why = lost
                    ? result.error()
                    : Error(ErrorClass::UnknownOutcome, what + " by an earlier call goes on still");
    Result<DomainInfo> settled = co_await settle(std::move(claim), std::move(why));
    co_return settled;
  }

  bool mayHoldLostCall(AttemptRef ref) const override {
    lost_calls_.dropEnded(isAlive);
    return lost_calls_.mayTakeEffect(ref);
  }

  void noteLostCall(AttemptRef ref) override {
    // A driver inside the process that ended took its calls along.
    if (!target_.in_process) lost_calls_.note(ref, connected_ ? daemon_ : std::nullopt);
  }

  asio::awaitable<Result<void>> resume(AttemptRef ref) override {
    return control(ref, "resume", callResume);
  }
  asio::awaitable<Result<void>> shutDown(AttemptRef ref) override {
    return control(ref, "shutdown", callShutDown);
  }
  asio::awaitable<Result<void>> destroy(AttemptRef ref) override {
    return control(ref, "destroy", callDestroy);
  }

  asio::awaitable<StopReason> whyEnded(VmId vm, std::string name) override {
    const auto known = ends_.find(vm);
    if (known != ends_.end()) co_return known->second;
    if (!connected_) co_return StopReason::Unwatched;
    std::function<Result<StopReason>(VirtConnection&)> work =
        [directory = options_.domain_log_directory, vm, name](VirtConnection&) {
          return Result<StopReason>(readStopReason(directory, name, vm));
        };
    const Result<StopReason> reason = co_await desk_.ask<StopReason>(
        control_, options_.query_timeout, "reading of a domain log", std::move(work));
    co_return reason ? *reason : StopReason::Unwatched;
  }

 private:
  using ControlCall = Result<void> (*)(VirtConnection&, const AttemptRef&);

  std::array<ConnectionPool*, 4> pools() { return {&query_, &create_, &control_, &barrier_}; }
  std::size_t threads() {
    std::size_t sum = 0;
    for (ConnectionPool* pool : pools()) sum += pool->threads();
    return sum;
  }

  Error notReady() const { return {ErrorClass::HostNotReady, reason_}; }

  /// Openers run on pool threads, perhaps when this object is gone: they hold values only.
  ConnectionPool::Opener queryOpener() {
    VirtSettings settings;
    settings.uri = options_.uri;
    settings.keepalive_interval_s = static_cast<unsigned>(
        std::chrono::duration_cast<seconds>(options_.keepalive_interval).count());
    settings.keepalive_count = static_cast<unsigned>(options_.keepalive_count);
    std::weak_ptr<LibvirtHypervisor*> self = self_;
    VirtCallbacks callbacks;
    callbacks.on_event = [mailbox = mailbox_, self](HypervisorEvent event) {
      mailbox->post([self, event] {
        if (const auto alive = self.lock()) (*alive)->onDomainEvent(event);
      });
    };
    callbacks.on_close = [mailbox = mailbox_, self](std::uint64_t serial, std::string why) {
      mailbox->post([self, serial, why = std::move(why)] {
        if (const auto alive = self.lock()) (*alive)->onClosed(serial, why);
      });
    };
    return [settings, callbacks] { return VirtConnection::open(settings, callbacks); };
  }

  ConnectionPool::Opener patientOpener() {
    VirtSettings settings;
    settings.uri = options_.uri;
    settings.keepalive_interval_s = kPatientKeepaliveS;
    settings.keepalive_count = kPatientKeepaliveCount;
    return [settings] { return VirtConnection::open(settings, {}); };
  }

  void emit(HypervisorEvent event) {
    if (on_event_ && !stopping_) on_event_(event);
  }
  void emit(HypervisorEvent::Kind kind) {
    HypervisorEvent event;
    event.kind = kind;
    emit(event);
  }

  void onDomainEvent(const HypervisorEvent& event) {
    if (event.kind == HypervisorEvent::Kind::Started) forgetEnd(event.vm);
    if (event.kind == HypervisorEvent::Kind::Stopped) rememberEnd(event.vm, event.reason);
    emit(event);
  }

  void rememberEnd(VmId vm, StopReason reason) {
    if (!ends_.insert_or_assign(vm, reason).second) return;
    ends_order_.push_back(vm);
    while (ends_order_.size() > kRememberedEnds) {
      ends_.erase(ends_order_.front());
      ends_order_.pop_front();
    }
  }
  void forgetEnd(VmId vm) {
    if (ends_.erase(vm) == 0) return;
    ends_order_.erase(std::find(ends_order_.begin(), ends_order_.end(), vm));
  }

  void onClosed(std::uint64_t serial, const std::string& why) {
    closed_serial_ = std::max(closed_serial_, serial);
    if (serial == serial_ && close_reason_.empty()) close_reason_ = why;
    lost_timer_.cancel();
  }

  void onCallEnd(const CallEnd& end) {
    if (end.reached) last_answer_ = clock_.now();
    if (end.lost && end.serial == serial_) onClosed(end.serial, end.why);
  }

  void onCreateEnd(LostCalls::Token token, const CallEnd& end) {
    if (end.lost && !target_.in_process) {
      lost_calls_.lost(token, end.daemon);
    } else {
      lost_calls_.answered(token);
    }
  }

  asio::awaitable<void> keepConnected() {
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

  asio::awaitable<Result<HostFacts>> connect() {
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
    // The first question after a start makes libvirt probe its emulators.
    std::function<Result<HostFacts>(VirtConnection&)> read = readHostFacts;
    Result<HostFacts> facts =
        co_await desk_.ask<HostFacts>(query_, kListTimeout, "host facts", std::move(read));
    co_return facts;
  }

  void onConnected(const HostFacts& facts) {
    serial_ = facts.serial;
    daemon_ = facts.daemon;
    if (daemon_) lost_calls_.assumeTaker(*daemon_);
    identity_.uri = options_.uri;
    identity_.local = target_.local;
    identity_.host_uuid = facts.host_uuid;
    // Its domains end with this process, so that another process is another hypervisor.
    if (target_.volatile_domains) identity_.host_uuid += "/process-" + std::to_string(::getpid());
    connected_ = true;
    close_reason_.clear();
    log::info("libvirt: connected to {}", options_.uri);
    emit(HypervisorEvent::Kind::ConnectionRestored);
  }

  void onDisconnected() {
    connected_ = false;
    setReason("libvirt at " + options_.uri + " was lost (" + close_reason_ + "); reconnecting");
    query_.renewConnections();
    emit(HypervisorEvent::Kind::ConnectionLost);
  }

  asio::awaitable<void> untilClosed() {
    while (closed_serial_ < serial_) {
      boost::system::error_code ignored;
      co_await lost_timer_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      const auto cancellation = co_await asio::this_coro::cancellation_state;
      if (cancellation.cancelled() != asio::cancellation_type::none) {
        throw boost::system::system_error(asio::error::operation_aborted);
      }
    }
  }

  void setReason(std::string reason) {
    if (reason != reason_) log::warn("libvirt: {}", reason);
    reason_ = std::move(reason);
  }

  /// One sign of life at a time, so that a driver that hangs behind its daemon shows as age.
  asio::awaitable<void> probeWhenIdle() {
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

  asio::awaitable<void> settleLostCalls() {
    for (;;) {
      co_await clock_.sleepFor(kLostCallsPoll);
      lost_calls_.dropEnded(isAlive);
      if (!connected_ || !lost_calls_.anyLost()) continue;
      if (lost_calls_.needsBarrier()) co_await passBarrier();
      const TimePoint asked = clock_.now();
      const Result<std::vector<DomainInfo>> domains = co_await list();
      if (!domains) continue;
      std::unordered_set<VmId> present;
      for (const DomainInfo& domain : *domains) present.insert(domain.vm);
      lost_calls_.listed(asked, [&present](VmId vm) { return present.contains(vm); });
    }
  }

  asio::awaitable<void> passBarrier() {
    const std::vector<LostCalls::Token> covered = lost_calls_.lostNow();
    barrier_.renewConnections();
    const auto taker = std::make_shared<std::optional<DaemonInstance>>();
    std::function<Result<Duration>(VirtConnection&)> work = callBarrier;
    std::function<void(const CallEnd&)> on_end = [taker](const CallEnd& end) {
      *taker = end.daemon;
    };
    const Result<Duration> took = co_await desk_.ask<Duration>(barrier_, kBarrierTimeout, "barrier",
                                                               std::move(work), std::move(on_end));
    if (!took) co_return;
    const Duration gap = std::max(options_.lost_call_gap, *took * 2);
    lost_calls_.barrierPassed(covered, *taker, gap);
  }

  /// After a create lost its answer: waits, within bounds, until libvirt says what became of it.
  asio::awaitable<Result<DomainInfo>> settle(Claim claim, Error why) {
    const TimePoint deadline = clock_.now() + options_.settle_timeout;
    while (!stopping_ && clock_.now() < deadline) {
      const bool may_come = mayHoldLostCall(claim.ref);
      const Result<std::optional<DomainInfo>> found = co_await lookUp(claim.ref.vm);
      if (found && *found) {
        const Result<void> ours = checkClaim(**found, claim.ref);
        if (!ours) co_return withContext(Error(why.error_class, ours.error().message), why.message);
        const DomainState state = (*found)->state;
        if (state == DomainState::Paused || state == DomainState::Running) co_return **found;
      } else if (found && !may_come) {
        co_return Error(ErrorClass::HostNotReady,
                        why.message + "; nothing of it is left on this host");
      }
      co_await clock_.sleepFor(kSettlePoll);
    }
    co_return why;
  }

  asio::awaitable<Result<void>> control(AttemptRef ref, std::string verb, ControlCall call) {
    if (!connected_) co_return notReady();
    std::function<Result<void>(VirtConnection&)> work = [ref, call](VirtConnection& connection) {
      return call(connection, ref);
    };
    std::string what = verb + " of vm " + ref.vm.str();
    Result<void> result =
        co_await desk_.ask<void>(control_, options_.call_timeout, std::move(what), std::move(work));
    co_return result;
  }

  asio::any_io_executor owner_;
  Clock& clock_;
  Rng& rng_;
  LibvirtOptions options_;
  LibvirtTarget target_;
  std::shared_ptr<Mailbox> mailbox_;
  std::shared_ptr<LibvirtHypervisor*> self_ = std::make_shared<LibvirtHypervisor*>(this);
  CallDesk desk_;
  ConnectionPool query_;  ///< Look-ups, lists, events.
  ConnectionPool create_;
  ConnectionPool control_;  ///< Resume, shutdown, destroy.
  ConnectionPool barrier_;
  mutable LostCalls lost_calls_;  ///< A question may find that a daemon has ended.

  std::function<void(HypervisorEvent)> on_event_;
  asio::steady_timer lost_timer_;  ///< Cancelled to wake untilClosed().
  TimePoint last_answer_;
  std::string reason_;
  std::string close_reason_;
  HypervisorIdentity identity_;
  std::optional<DaemonInstance> daemon_;
  std::uint64_t serial_ = 0;  ///< Of the query connection that we are connected by.
  std::uint64_t closed_serial_ = 0;
  bool connected_ = false;
  bool stopping_ = false;
  bool probing_ = false;

  std::unordered_map<VmId, StopReason> ends_;
  std::deque<VmId> ends_order_;  ///< Oldest first.

  TaskGroup tasks_;
};

}  // namespace

std::unique_ptr<Hypervisor> makeLibvirtHypervisor(asio::any_io_executor owner, Clock& clock,
                                                  Rng& rng, LibvirtOptions options) {
  return std::make_unique<LibvirtHypervisor>(std::move(owner), clock, rng, std::move(options));
}

}  // namespace vms::hostagent
