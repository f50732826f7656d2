#include "hostagent/libvirt/libvirt_hypervisor.h"

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <unordered_set>
#include <utility>

#include "hostagent/libvirt/domain_calls.h"
#include "hostagent/libvirt/domain_claim_xml.h"
#include "hostagent/libvirt/domain_ends.h"
#include "hostagent/libvirt/domain_log.h"
#include "hostagent/libvirt/libvirt_link.h"
#include "hostagent/libvirt/lost_calls.h"
#include "schema/base/log.h"
#include "schema/base/task_group.h"

namespace vms::hostagent {
namespace {

constexpr Duration kSettlePoll = milliseconds(200);
constexpr Duration kLostCallsPoll = milliseconds(500);
constexpr Duration kStopPoll = milliseconds(10);
constexpr Duration kStopPatience = milliseconds(2'000);
constexpr Duration kListTimeout = seconds(60);
constexpr std::size_t kValidatedMax = 100'000;
constexpr Duration kBarrierTimeout = seconds(300);
/// Under load libvirtd may be slow to answer keepalives; a cut create costs more than a late
/// notice.
constexpr unsigned kPatientKeepaliveS = 5;
constexpr unsigned kPatientKeepaliveCount = 6;

/// For operations that only ask: an answer that was lost is no more than none.
template <class T>
Result<T> readOnly(Result<T> result) {
  if (!result && result.error().error_class == ErrorClass::UnknownOutcome) {
    return Error(ErrorClass::HostNotReady, result.error().message);
  }
  return result;
}

ConnectionPool::Opener patientOpener(const LibvirtOptions& options) {
  VirtSettings settings;
  settings.uri = options.uri;
  settings.keepalive_interval_s = kPatientKeepaliveS;
  settings.keepalive_count = kPatientKeepaliveCount;
  return [settings] { return VirtConnection::open(settings, {}); };
}

class LibvirtHypervisor final : public Hypervisor {
 public:
  LibvirtHypervisor(asio::any_io_executor owner, Clock& clock, Rng& rng, LibvirtOptions options)
      : clock_(clock),
        options_(std::move(options)),
        link_(owner, clock, rng, options_),
        create_("libvirt-create", options_.create_connections, options_.calls_per_connection,
                patientOpener(options_)),
        control_("libvirt-control", options_.control_connections, options_.calls_per_connection,
                 patientOpener(options_)),
        barrier_("libvirt-barrier", 1, 1, patientOpener(options_)),
        tasks_(owner) {}

  void start(std::function<void(HypervisorEvent)> on_event) override {
    on_event_ = std::move(on_event);
    link_.start(tasks_, [this](HypervisorEvent event) { onEvent(event); });
    tasks_.spawn("libvirt lost calls", [this] { return settleLostCalls(); });
  }

  asio::awaitable<void> stop() override {
    link_.shutDown();
    tasks_.cancel();
    co_await tasks_.join();
    for (ConnectionPool* pool : pools()) pool->close();
    // Threads that hang in libvirt stay behind with what they hold; the rest ends in milliseconds.
    const TimePoint patience = clock_.now() + kStopPatience;
    while (threads() > 0 && clock_.now() < patience) co_await clock_.sleepFor(kStopPoll);
    if (threads() > 0) {
      log::warn("libvirt: {} calls hang and are left behind; is libvirtd stopped?", threads());
    }
    link_.close();
  }

  bool connected() const override { return link_.connected(); }
  Duration lastAnswerAge() const override { return link_.lastAnswerAge(); }
  std::string notReadyReason() const override {
    return link_.connected() ? std::string() : link_.notReady().message;
  }

  asio::awaitable<Result<HypervisorIdentity>> identity() override {
    if (!link_.connected()) co_return link_.notReady();
    co_return link_.identity();
  }

  asio::awaitable<Result<std::vector<DomainInfo>>> list() override {
    if (!link_.connected()) co_return link_.notReady();
    std::function<Result<std::vector<DomainInfo>>(VirtConnection&)> work = callList;
    auto result = co_await link_.desk().ask<std::vector<DomainInfo>>(link_.query(), kListTimeout,
                                                                     "list", std::move(work));
    co_return readOnly(std::move(result));
  }

  asio::awaitable<Result<std::optional<DomainInfo>>> lookUp(VmId vm) override {
    if (!link_.connected()) co_return link_.notReady();
    std::function<Result<std::optional<DomainInfo>>(VirtConnection&)> work =
        [vm](VirtConnection& connection) { return callLookUp(connection, vm); };
    std::string what = "look-up of vm " + vm.str();
    auto result = co_await link_.desk().ask<std::optional<DomainInfo>>(
        link_.query(), options_.query_timeout, std::move(what), std::move(work));
    co_return readOnly(std::move(result));
  }

  asio::awaitable<Result<DomainInfo>> createPaused(DomainSpec spec, Claim claim) override {
    if (!link_.connected()) co_return link_.notReady();
    Result<std::string> xml = addClaim(spec.xml, claim);
    if (!xml) co_return xml.error();
    CreateOrder order;
    order.claim = claim;
    order.name = spec.name;
    order.xml = std::move(*xml);
    order.memory = spec.memory;
    order.vcpus = spec.vcpus;
    const std::size_t fingerprint = std::hash<std::string>()(spec.xml);
    order.validate = !validated_.contains(fingerprint);
    ends_.forget(claim.ref.vm);

    const LostCalls::Token token = lost_calls_.sent(claim.ref);
    std::function<Result<DomainInfo>(VirtConnection&)> work =
        [order = std::move(order)](VirtConnection& connection) {
          return callCreatePaused(connection, order);
        };
    std::function<void(const CallEnd&)> on_end = [this, token](const CallEnd& end) {
      onCreateEnd(token, end);
    };
    std::string what = "create of vm " + spec.name + " (" + claim.ref.vm.str() + ")";
    Result<DomainInfo> result = co_await link_.desk().ask<DomainInfo>(
        create_, options_.create_timeout, what, std::move(work), std::move(on_end));
    const bool lost = !result && result.error().error_class == ErrorClass::UnknownOutcome;
    if (!lost) lost_calls_.answered(token);
    if (result) rememberValid(fingerprint);
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
    if (!link_.target().in_process)
      lost_calls_.note(ref, link_.connected() ? link_.daemon() : std::nullopt);
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
    const std::optional<StopReason> known = ends_.find(vm);
    if (known) co_return *known;
    if (!link_.connected()) co_return StopReason::Unwatched;
    std::function<Result<StopReason>(VirtConnection&)> work =
        [directory = options_.domain_log_directory, vm, name](VirtConnection&) {
          return Result<StopReason>(readStopReason(directory, name, vm));
        };
    const Result<StopReason> reason = co_await link_.desk().ask<StopReason>(
        control_, options_.query_timeout, "reading of a domain log", std::move(work));
    co_return reason ? *reason : StopReason::Unwatched;
  }

 private:
  using ControlCall = Result<void> (*)(VirtConnection&, const AttemptRef&);

  std::array<ConnectionPool*, 4> pools() {
    return {&link_.query(), &create_, &control_, &barrier_};
  }
  std::size_t threads() {
    std::size_t sum = 0;
    for (ConnectionPool* pool : pools()) sum += pool->threads();
    return sum;
  }

  void onEvent(const HypervisorEvent& event) {
    if (event.kind == HypervisorEvent::Kind::Started) ends_.forget(event.vm);
    if (event.kind == HypervisorEvent::Kind::Stopped) ends_.remember(event.vm, event.reason);
    // Perhaps another version, with another schema.
    if (event.kind == HypervisorEvent::Kind::ConnectionRestored) validated_.clear();
    if (event.kind == HypervisorEvent::Kind::ConnectionRestored && link_.daemon()) {
      lost_calls_.assumeTaker(*link_.daemon());
    }
    if (on_event_) on_event_(event);
  }

  /// A document that this libvirt has taken once needs no second validation.
  void rememberValid(std::size_t fingerprint) {
    if (validated_.size() >= kValidatedMax) validated_.clear();
    validated_.insert(fingerprint);
  }

  void onCreateEnd(LostCalls::Token token, const CallEnd& end) {
    if (end.lost && !link_.target().in_process) {
      lost_calls_.lost(token, end.daemon);
    } else {
      lost_calls_.answered(token);
    }
  }

  asio::awaitable<void> settleLostCalls() {
    for (;;) {
      co_await clock_.sleepFor(kLostCallsPoll);
      lost_calls_.dropEnded(isAlive);
      if (!link_.connected() || !lost_calls_.anyLost()) continue;
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
    const Result<Duration> took = co_await link_.desk().ask<Duration>(
        barrier_, kBarrierTimeout, "barrier", std::move(work), std::move(on_end));
    if (!took) co_return;
    const Duration gap = std::max(options_.lost_call_gap, *took * 2);
    lost_calls_.barrierPassed(covered, *taker, gap);
  }

  /// After a create lost its answer: waits, within bounds, until libvirt says what became of it.
  asio::awaitable<Result<DomainInfo>> settle(Claim claim, Error why) {
    const TimePoint deadline = clock_.now() + options_.settle_timeout;
    while (!link_.isShutDown() && clock_.now() < deadline) {
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
    if (!link_.connected()) co_return link_.notReady();
    std::function<Result<void>(VirtConnection&)> work = [ref, call](VirtConnection& connection) {
      return call(connection, ref);
    };
    std::string what = verb + " of vm " + ref.vm.str();
    Result<void> result = co_await link_.desk().ask<void>(control_, options_.call_timeout,
                                                          std::move(what), std::move(work));
    co_return result;
  }

  Clock& clock_;
  const LibvirtOptions options_;
  LibvirtLink link_;  ///< With the connection for look-ups, lists and events.
  ConnectionPool create_;
  ConnectionPool control_;  ///< Resume, shutdown, destroy.
  ConnectionPool barrier_;
  mutable LostCalls lost_calls_;               ///< A question may find that a daemon has ended.
  std::unordered_set<std::size_t> validated_;  ///< Hashes of the XML of domains created here.
  DomainEnds ends_;
  std::function<void(HypervisorEvent)> on_event_;
  TaskGroup tasks_;
};

}  // namespace

std::unique_ptr<Hypervisor> makeLibvirtHypervisor(asio::any_io_executor owner, Clock& clock,
                                                  Rng& rng, LibvirtOptions options) {
  return std::make_unique<LibvirtHypervisor>(std::move(owner), clock, rng, std::move(options));
}

}  // namespace vms::hostagent
