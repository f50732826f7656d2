#include "hostagent/simulated/simulated_hypervisor.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace vms::hostagent {

Duration BuildTime::draw(Rng& rng) const {
  if (kind == Kind::Constant) return median;
  if (kind == Kind::Uniform) return rng.between(min, std::max(min, max));
  // Box and Muller.
  const double radius = std::sqrt(-2.0 * std::log(1.0 - rng.real()));
  const double normal = radius * std::cos(2.0 * std::numbers::pi * rng.real());
  const double factor = std::exp(sigma * normal);
  const double drawn = static_cast<double>(median.count()) * factor;
  const double bounded = std::clamp(drawn, static_cast<double>(min.count()),
                                    static_cast<double>(std::max(min, max).count()));
  return Duration(static_cast<Duration::rep>(bounded));
}

SimulatedHypervisor::SimulatedHypervisor(asio::any_io_executor owner, Clock& clock, Rng& rng,
                                         SimulatedOptions options)
    : clock_(clock), rng_(rng), options_(std::move(options)), guests_(std::move(owner)) {}

void SimulatedHypervisor::start(std::function<void(HypervisorEvent)> on_event) {
  on_event_ = std::move(on_event);
  started_ = true;
}

asio::awaitable<void> SimulatedHypervisor::stop() {
  started_ = false;
  on_event_ = nullptr;
  guests_.cancel();
  co_await guests_.join();
}

std::string SimulatedHypervisor::notReadyReason() const {
  return started_ ? std::string() : "the simulated hypervisor is stopped";
}

Error SimulatedHypervisor::away() const {
  return Error(ErrorClass::HostNotReady, notReadyReason());
}

void SimulatedHypervisor::tell(HypervisorEvent::Kind kind, VmId vm, StopReason reason) {
  if (!on_event_) return;
  HypervisorEvent event;
  event.kind = kind;
  event.vm = vm;
  event.reason = reason;
  on_event_(event);
}

void SimulatedHypervisor::end(VmId vm, StopReason reason) {
  if (domains_.erase(vm) > 0) tell(HypervisorEvent::Kind::Stopped, vm, reason);
}

void SimulatedHypervisor::settle(VmId vm) {
  const auto place = domains_.find(vm);
  if (place == domains_.end()) return;
  Entry& entry = place->second;
  const TimePoint now = clock_.now();
  if (entry.info.state == DomainState::Starting && entry.ready <= now) {
    if (entry.fails) {
      end(vm, StopReason::Failed);
      return;
    }
    entry.info.state = DomainState::Paused;
  }
  if (entry.stops && *entry.stops <= now) end(vm, StopReason::Shutdown);
}

asio::awaitable<Result<HypervisorIdentity>> SimulatedHypervisor::identity() {
  co_await clock_.sleepFor(options_.query);
  if (!started_) co_return away();
  HypervisorIdentity identity;
  identity.uri = options_.uri;
  identity.host_uuid = options_.host_uuid;
  identity.local = true;
  co_return identity;
}

asio::awaitable<Result<std::vector<DomainInfo>>> SimulatedHypervisor::list() {
  co_await clock_.sleepFor(options_.query);
  if (!started_) co_return away();
  std::vector<VmId> vms;
  for (const auto& [vm, entry] : domains_) vms.push_back(vm);
  for (const VmId& vm : vms) settle(vm);
  std::vector<DomainInfo> all;
  for (const auto& [vm, entry] : domains_) all.push_back(entry.info);
  co_return all;
}

asio::awaitable<Result<std::optional<DomainInfo>>> SimulatedHypervisor::lookUp(VmId vm) {
  co_await clock_.sleepFor(options_.query);
  if (!started_) co_return away();
  settle(vm);
  std::optional<DomainInfo> found;
  const auto place = domains_.find(vm);
  if (place != domains_.end()) found = place->second.info;
  co_return found;
}

asio::awaitable<Result<DomainInfo>> SimulatedHypervisor::createPaused(DomainSpec spec,
                                                                      Claim claim) {
  if (!started_) co_return away();
  settle(spec.vm);
  const auto place = domains_.find(spec.vm);
  if (place == domains_.end()) {
    Entry entry;
    entry.info.vm = spec.vm;
    entry.info.name = spec.name;
    entry.info.claim = claim;
    entry.info.state = DomainState::Starting;
    entry.info.memory = spec.memory;
    entry.info.vcpus = spec.vcpus;
    entry.ready = clock_.now() + options_.build.draw(rng_);
    entry.fails = options_.failure > 0 && rng_.chance(options_.failure);
    domains_.emplace(spec.vm, std::move(entry));
  } else if (!place->second.info.claim) {
    co_return Error(ErrorClass::Foreign, spec.name + " exists and is not ours");
  } else if (place->second.info.claim->ref != claim.ref) {
    co_return Error(ErrorClass::Superseded, spec.name + " exists under another attempt");
  }
  const TimePoint ready = domains_.at(spec.vm).ready;
  co_await clock_.sleepUntil(ready);
  if (!started_) co_return Error(ErrorClass::UnknownOutcome, "create of " + spec.name + " was cut");
  settle(spec.vm);
  const auto built = domains_.find(spec.vm);
  if (built == domains_.end() || !built->second.info.claim ||
      built->second.info.claim->ref != claim.ref) {
    co_return Error(ErrorClass::HostRejected, "create of " + spec.name + ": simulated failure");
  }
  tell(HypervisorEvent::Kind::Started, spec.vm);
  co_return built->second.info;
}

bool SimulatedHypervisor::mayHoldLostCall(AttemptRef) const { return false; }

void SimulatedHypervisor::noteLostCall(AttemptRef) {}

Result<SimulatedHypervisor::Entry*> SimulatedHypervisor::owned(const AttemptRef& ref) {
  if (!started_) return away();
  settle(ref.vm);
  const auto place = domains_.find(ref.vm);
  if (place == domains_.end())
    return Error(ErrorClass::NotFound, "no domain of VM " + ref.vm.str());
  const std::optional<Claim>& claim = place->second.info.claim;
  if (!claim) return Error(ErrorClass::Foreign, place->second.info.name + " is not ours");
  if (claim->ref != ref) {
    return Error(ErrorClass::Superseded, place->second.info.name + " belongs to another attempt");
  }
  return &place->second;
}

asio::awaitable<Result<void>> SimulatedHypervisor::resume(AttemptRef ref) {
  co_await clock_.sleepFor(options_.resume);
  const Result<Entry*> entry = owned(ref);
  if (!entry) co_return entry.error();
  DomainState& state = (*entry)->info.state;
  if (state == DomainState::Starting || state == DomainState::Dying) {
    co_return Error(ErrorClass::HostRejected, (*entry)->info.name + " cannot be resumed now");
  }
  if (std::exchange(state, DomainState::Running) == DomainState::Paused) {
    tell(HypervisorEvent::Kind::Resumed, ref.vm);
  }
  co_return boost::system::in_place_value;
}

asio::awaitable<Result<void>> SimulatedHypervisor::shutDown(AttemptRef ref) {
  co_await clock_.sleepFor(options_.query);
  const Result<Entry*> entry = owned(ref);
  if (!entry) co_return entry.error();
  if (!(*entry)->stops) {
    const TimePoint stops = clock_.now() + options_.shutdown;
    (*entry)->stops = stops;
    guests_.spawn("guest powers off", [this, stops, vm = ref.vm] { return powerOff(stops, vm); });
  }
  co_return boost::system::in_place_value;
}

asio::awaitable<void> SimulatedHypervisor::powerOff(TimePoint when, VmId vm) {
  co_await clock_.sleepUntil(when);
  settle(vm);
}

asio::awaitable<Result<void>> SimulatedHypervisor::destroy(AttemptRef ref) {
  co_await clock_.sleepFor(options_.query);
  Result<Entry*> entry = owned(ref);
  if (!entry && entry.error().error_class == ErrorClass::NotFound) {
    co_return boost::system::in_place_value;
  }
  if (!entry) co_return entry.error();
  (*entry)->info.state = DomainState::Dying;
  co_await clock_.sleepFor(options_.destroy);
  entry = owned(ref);
  if (entry) end(ref.vm, StopReason::Destroyed);
  co_return boost::system::in_place_value;
}

asio::awaitable<StopReason> SimulatedHypervisor::whyEnded(VmId, std::string) {
  co_return StopReason::Unwatched;
}

}  // namespace vms::hostagent
