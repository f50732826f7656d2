#include "tests/sim/sim_hypervisor.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

namespace vms::sim {

using hostagent::DomainInfo;
using hostagent::DomainSpec;
using hostagent::HypervisorEvent;
using hostagent::HypervisorIdentity;
using hostagent::StopReason;

namespace {

constexpr Duration kCallTimeout = seconds(10);
/// How long the adapter keeps on distrusting a daemon that holds nothing any more.
constexpr Duration kDistrust = seconds(3);
/// How often an idle adapter asks by itself.
constexpr Duration kIdleAsk = seconds(1);

}  // namespace

SimHypervisor::SimHypervisor(SimHost& host, Process& process)
    : host_(host),
      process_(process),
      incarnation_(process.incarnation()),
      last_answer_(process.world().now()) {}

SimHypervisor::~SimHypervisor() {
  // A crash leaves the listener; it finds the incarnation gone.
  if (mine() && started_) host_.setListener(nullptr);
}

bool SimHypervisor::mine() const {
  return process_.alive() && process_.incarnation() == incarnation_;
}

void SimHypervisor::start(std::function<void(HypervisorEvent)> on_event) {
  on_event_ = std::move(on_event);
  started_ = true;
  std::weak_ptr<Wire> weak = wire_;
  host_.setListener([this, weak](HypervisorEvent event) {
    if (!weak.expired() && mine()) heard(event);
  });
  connectLater();
}

asio::awaitable<void> SimHypervisor::stop() {
  if (started_) host_.setListener(nullptr);
  started_ = false;
  connected_ = false;
  losePending();
  co_return;
}

void SimHypervisor::losePending() {
  const std::vector<Wire::Pending> pending = std::exchange(wire_->pending, {});
  for (const Wire::Pending& call : pending) call.lose();
}

void SimHypervisor::connectLater() {
  World& world = process_.world();
  const Duration delay = world.rng().between(milliseconds(10), milliseconds(300));
  std::weak_ptr<Wire> weak = wire_;
  world.in(delay, [this, weak]() {
    if (weak.expired() || !mine() || !started_ || connected_ || !host_.daemonRuns()) return;
    connected_ = true;
    last_answer_ = process_.world().now();
    HypervisorEvent event;
    event.kind = HypervisorEvent::Kind::ConnectionRestored;
    deliver(event);
  });
}

void SimHypervisor::heard(HypervisorEvent event) {
  if (event.kind == HypervisorEvent::Kind::ConnectionRestored) {
    connectLater();
    return;
  }
  if (!connected_) return;
  if (event.kind == HypervisorEvent::Kind::ConnectionLost) {
    connected_ = false;
    losePending();
  }
  deliver(event);
}

void SimHypervisor::deliver(HypervisorEvent event) {
  std::weak_ptr<Wire> weak = wire_;
  const Duration delay = process_.world().rng().between(Duration{}, milliseconds(5));
  process_.world().in(delay, [this, weak, event]() {
    if (weak.expired() || !mine() || !started_) return;
    asio::post(process_.executor(), [this, weak, event]() {
      if (!weak.expired() && started_) on_event_(event);
    });
  });
}

bool SimHypervisor::connected() const { return connected_; }

Duration SimHypervisor::lastAnswerAge() const {
  const Duration age = process_.world().now() - last_answer_;
  if (connected_ && !host_.hung()) return std::min(age, kIdleAsk);
  return age;
}

std::string SimHypervisor::notReadyReason() const {
  if (connected_) return {};
  return "host " + host_.id() + ": no connection to the simulated hypervisor";
}

template <class T>
asio::awaitable<Result<T>> SimHypervisor::call(std::string doing, ErrorClass when_lost,
                                               std::function<void(SimHost::Reply<T>)> submit) {
  if (!connected_) co_return Error{ErrorClass::HostNotReady, doing + ": " + notReadyReason()};
  const auto answer = std::make_shared<Answer<Result<T>>>(process_.executor());
  std::weak_ptr<Answer<Result<T>>> weak = answer;
  std::function<void()> lose = [weak, doing, when_lost]() {
    if (const auto waiting = weak.lock()) {
      waiting->give(Error{when_lost, doing + ": the hypervisor did not answer"});
    }
  };
  std::erase_if(wire_->pending, [](const Wire::Pending& p) { return p.answer.expired(); });
  wire_->pending.push_back({answer, lose});
  process_.world().in(kCallTimeout, lose);
  SimHost::Reply<T> reply = [this, weak, daemon = host_.daemonInstance()](Result<T> result) {
    const auto waiting = weak.lock();
    if (!waiting || daemon != host_.daemonInstance()) return;
    last_answer_ = process_.world().now();
    waiting->give(std::move(result));
  };
  submit(std::move(reply));
  Result<T> result = co_await Answer<Result<T>>::wait(answer);
  co_return result;
}

asio::awaitable<Result<HypervisorIdentity>> SimHypervisor::identity() {
  std::function<void(SimHost::Reply<std::vector<DomainInfo>>)> submit =
      [this](SimHost::Reply<std::vector<DomainInfo>> reply) { host_.list(std::move(reply)); };
  const auto answered = co_await call<std::vector<DomainInfo>>("identity", ErrorClass::HostNotReady,
                                                               std::move(submit));
  if (!answered) co_return answered.error();
  HypervisorIdentity identity;
  identity.uri = "sim:///" + host_.id();
  identity.host_uuid = host_.hardwareUuid();
  co_return identity;
}

asio::awaitable<Result<std::vector<DomainInfo>>> SimHypervisor::list() {
  return call<std::vector<DomainInfo>>(
      "list", ErrorClass::HostNotReady,
      [this](SimHost::Reply<std::vector<DomainInfo>> reply) { host_.list(std::move(reply)); });
}

asio::awaitable<Result<std::optional<DomainInfo>>> SimHypervisor::lookUp(VmId vm) {
  return call<std::optional<DomainInfo>>(
      "look up", ErrorClass::HostNotReady,
      [this, vm](SimHost::Reply<std::optional<DomainInfo>> reply) {
        host_.lookUp(vm, std::move(reply));
      });
}

asio::awaitable<Result<DomainInfo>> SimHypervisor::createPaused(DomainSpec spec, Claim claim) {
  const AttemptRef ref = claim.ref;
  const std::uint64_t daemon = host_.daemonInstance();
  std::function<void(SimHost::Reply<DomainInfo>)> submit =
      [this, spec, claim](SimHost::Reply<DomainInfo> reply) {
        host_.create(spec, claim, std::move(reply));
      };
  Result<DomainInfo> result = co_await call<DomainInfo>(
      "create " + spec.name, ErrorClass::UnknownOutcome, std::move(submit));
  if (!result && result.error().error_class == ErrorClass::UnknownOutcome) {
    lost_[ref.attempt] = Lost{daemon, process_.world().now()};
  }
  co_return result;
}

bool SimHypervisor::mayHoldLostCall(AttemptRef ref) const {
  const auto found = lost_.find(ref.attempt);
  if (found == lost_.end() || found->second.daemon != host_.daemonInstance()) return false;
  return host_.holdsCreate(ref.attempt) || process_.world().now() - found->second.at < kDistrust;
}

void SimHypervisor::noteLostCall(AttemptRef ref) {
  lost_[ref.attempt] = Lost{host_.daemonInstance(), process_.world().now()};
}

asio::awaitable<Result<void>> SimHypervisor::resume(AttemptRef ref) {
  return call<void>("resume", ErrorClass::UnknownOutcome, [this, ref](SimHost::Reply<void> reply) {
    host_.resume(ref, std::move(reply));
  });
}

asio::awaitable<Result<void>> SimHypervisor::shutDown(AttemptRef ref) {
  return call<void>(
      "shutdown", ErrorClass::UnknownOutcome,
      [this, ref](SimHost::Reply<void> reply) { host_.shutDown(ref, std::move(reply)); });
}

asio::awaitable<Result<void>> SimHypervisor::destroy(AttemptRef ref) {
  return call<void>("destroy", ErrorClass::UnknownOutcome, [this, ref](SimHost::Reply<void> reply) {
    host_.destroy(ref, std::move(reply));
  });
}

asio::awaitable<StopReason> SimHypervisor::whyEnded(VmId vm, std::string) {
  co_await process_.clock().sleepFor(milliseconds(1));
  co_return host_.whyEnded(vm);
}

}  // namespace vms::sim
