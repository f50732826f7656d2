#include "tests/integration/libvirt_test_support.h"

#include <algorithm>
#include <chrono>

namespace vms::hostagent {
namespace {

Uuid randomUuid() {
  static Rng rng(seedFromSystem());
  return makeUuidV7(AsioClock().wallNow(), rng);
}

}  // namespace

Claim newClaim(VmId vm, std::uint64_t epoch) {
  Claim claim;
  claim.ref = AttemptRef{AttemptId{randomUuid()}, vm, Epoch{epoch}};
  claim.host = "test-host";
  claim.boot_id = "boot-1";
  claim.term = Term{1};
  return claim;
}

VmId newVm() { return VmId{randomUuid()}; }

LibvirtHarness::LibvirtHarness(LibvirtOptions options)
    : hypervisor_(makeLibvirtHypervisor(context_.get_executor(), clock, rng_, std::move(options))) {
  hypervisor_->start([this](HypervisorEvent event) { events.push_back(event); });
}

LibvirtHarness::~LibvirtHarness() { stop(); }

void LibvirtHarness::stop() {
  if (stopped_) return;
  stopped_ = true;
  await(hypervisor_->stop());
}

void LibvirtHarness::await(asio::awaitable<void> operation) {
  bool done = false;
  asio::co_spawn(context_, std::move(operation),
                 [&done](const std::exception_ptr&) { done = true; });
  ASSERT_TRUE(runUntil([&done] { return done; }));
}

bool LibvirtHarness::runUntil(const std::function<bool()>& done) {
  const TimePoint deadline = clock.now() + kPatience;
  while (!done()) {
    if (clock.now() > deadline) return false;
    context_.restart();
    context_.run_one_for(std::chrono::milliseconds(100));
  }
  return true;
}

void LibvirtHarness::connect() {
  ASSERT_TRUE(runUntil([this] { return hypervisor_->connected(); }))
      << hypervisor_->notReadyReason();
}

bool LibvirtHarness::sawEvent(HypervisorEvent::Kind kind, VmId vm) const {
  return std::any_of(events.begin(), events.end(), [&](const HypervisorEvent& event) {
    return event.kind == kind && event.vm == vm;
  });
}

}  // namespace vms::hostagent
