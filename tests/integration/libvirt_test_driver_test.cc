// The adapter on libvirt's in-process test driver: semantics without a daemon.
#include <gmock/gmock.h>
#include <libvirt/libvirt.h>

#include <algorithm>

#include "hostagent/libvirt/errors.h"
#include "schema/proto/agent.pb.h"
#include "tests/integration/libvirt_test_support.h"

namespace vms::hostagent {
namespace {

using testing::HasSubstr;
using Kind = HypervisorEvent::Kind;

DomainSpec specOf(VmId vm, const std::string& name) {
  DomainSpec spec;
  spec.vm = vm;
  spec.name = name;
  spec.memory = 16u << 20u;
  spec.vcpus = 2;
  spec.xml = "<domain type='test'><name>" + name + "</name><uuid>" + vm.str() +
             "</uuid><memory unit='MiB'>16</memory><vcpu>2</vcpu>"
             "<os><type>hvm</type></os></domain>";
  return spec;
}

class LibvirtTestDriver : public testing::Test {
 protected:
  LibvirtTestDriver() : host_(options()) { host_.connect(); }

  static LibvirtOptions options() {
    LibvirtOptions options;
    options.uri = "test:///default";
    return options;
  }

  DomainInfo create(const DomainSpec& spec, const Claim& claim) {
    const Result<DomainInfo> created = host_.await(host_->createPaused(spec, claim));
    EXPECT_TRUE(created.has_value()) << (created ? "" : created.error().message);
    return created ? *created : DomainInfo{};
  }

  std::optional<DomainInfo> lookUp(VmId vm) {
    const Result<std::optional<DomainInfo>> found = host_.await(host_->lookUp(vm));
    EXPECT_TRUE(found.has_value()) << (found ? "" : found.error().message);
    return found ? *found : std::nullopt;
  }

  ErrorClass classOf(const Result<void>& result) {
    EXPECT_FALSE(result.has_value());
    return result ? ErrorClass::Internal : result.error().error_class;
  }

  LibvirtHarness host_;
  const VmId vm_ = newVm();
  const Claim claim_ = newClaim(vm_, 7);
};

TEST_F(LibvirtTestDriver, CreatesPausedWithTheClaimThenResumesAndDestroys) {
  const DomainInfo created = create(specOf(vm_, "vm"), claim_);
  EXPECT_EQ(created.state, DomainState::Paused);
  EXPECT_EQ(created.claim, claim_);

  const std::optional<DomainInfo> found = lookUp(vm_);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->name, "vm");
  EXPECT_EQ(found->state, DomainState::Paused);
  EXPECT_EQ(found->claim, claim_);
  EXPECT_EQ(found->memory, 16u << 20u);
  EXPECT_EQ(found->vcpus, 2u);

  EXPECT_TRUE(host_.await(host_->resume(claim_.ref)).has_value());
  EXPECT_TRUE(host_.await(host_->resume(claim_.ref)).has_value()) << "idempotent";
  EXPECT_EQ(lookUp(vm_)->state, DomainState::Running);
  EXPECT_TRUE(host_.await(host_->destroy(claim_.ref)).has_value());
  EXPECT_EQ(lookUp(vm_), std::nullopt);
  EXPECT_TRUE(host_.await(host_->destroy(claim_.ref)).has_value()) << "idempotent";

  EXPECT_TRUE(host_.runUntil([&] { return host_.sawEvent(Kind::Stopped, vm_); }));
  EXPECT_TRUE(host_.sawEvent(Kind::Started, vm_));
  EXPECT_TRUE(host_.sawEvent(Kind::Resumed, vm_));
  EXPECT_EQ(host_.await(host_->whyEnded(vm_, "vm")), StopReason::Destroyed);
  EXPECT_EQ(host_.await(host_->whyEnded(newVm(), "other")), StopReason::Unwatched);
}

TEST_F(LibvirtTestDriver, TellsADomainThatNeverRanFromAGuestThatIsPaused) {
  EXPECT_TRUE(create(specOf(vm_, "vm"), claim_).never_ran);
  EXPECT_TRUE(lookUp(vm_)->never_ran);
  const auto listed = [&] {
    const auto all = host_.await(host_->list());
    EXPECT_TRUE(all.has_value());
    for (const DomainInfo& each : *all) {
      if (each.vm == vm_) return each;
    }
    return DomainInfo{};
  };
  EXPECT_TRUE(listed().never_ran);
  EXPECT_TRUE(host_.await(host_->resume(claim_.ref)).has_value());
  EXPECT_FALSE(listed().never_ran);
  EXPECT_EQ(listed().claim, claim_) << "the mark alone has changed";
  const virConnectPtr raw = virConnectOpen("test:///default");
  const virDomainPtr guest = virDomainLookupByName(raw, "vm");
  EXPECT_EQ(virDomainSuspend(guest), 0);
  virDomainFree(guest);
  virConnectClose(raw);
  EXPECT_EQ(listed().state, DomainState::Paused);
  EXPECT_FALSE(listed().never_ran);
  EXPECT_FALSE(lookUp(vm_)->never_ran);
}

TEST_F(LibvirtTestDriver, TheSameAttemptAgainFindsItsDomain) {
  create(specOf(vm_, "vm"), claim_);
  EXPECT_TRUE(host_.await(host_->resume(claim_.ref)).has_value());
  EXPECT_EQ(create(specOf(vm_, "vm"), claim_).state, DomainState::Running) << "and leaves it alone";
}

TEST_F(LibvirtTestDriver, AnotherAttemptNeitherCreatesNorTouches) {
  create(specOf(vm_, "vm"), claim_);
  const Claim later = newClaim(vm_, 8);
  const Result<DomainInfo> second = host_.await(host_->createPaused(specOf(vm_, "vm"), later));
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().error_class, ErrorClass::Superseded);
  EXPECT_EQ(classOf(host_.await(host_->resume(later.ref))), ErrorClass::Superseded);
  EXPECT_EQ(classOf(host_.await(host_->shutDown(later.ref))), ErrorClass::Superseded);
  EXPECT_EQ(classOf(host_.await(host_->destroy(later.ref))), ErrorClass::Superseded);
  EXPECT_EQ(lookUp(vm_)->claim, claim_);
  EXPECT_EQ(lookUp(vm_)->state, DomainState::Paused);
}

TEST_F(LibvirtTestDriver, ADomainOfAnotherHostIsForeign) {
  create(specOf(vm_, "vm"), claim_);
  Claim elsewhere = newClaim(vm_, 8);
  elsewhere.host = "other-host";
  const Result<DomainInfo> second = host_.await(host_->createPaused(specOf(vm_, "vm"), elsewhere));
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().error_class, ErrorClass::Foreign);
}

TEST_F(LibvirtTestDriver, DomainsWithoutAClaimAreForeignAndUntouched) {
  // The driver comes with a running domain named "test".
  const Result<std::vector<DomainInfo>> domains = host_.await(host_->list());
  ASSERT_TRUE(domains.has_value());
  const auto test = std::find_if(domains->begin(), domains->end(),
                                 [](const DomainInfo& domain) { return domain.name == "test"; });
  ASSERT_NE(test, domains->end());
  EXPECT_EQ(test->claim, std::nullopt);
  EXPECT_GT(test->memory, 0u);

  const Claim claim = newClaim(test->vm);
  const Result<DomainInfo> same_uuid =
      host_.await(host_->createPaused(specOf(test->vm, "mine"), claim));
  ASSERT_FALSE(same_uuid.has_value());
  EXPECT_EQ(same_uuid.error().error_class, ErrorClass::Foreign);
  const Result<DomainInfo> same_name =
      host_.await(host_->createPaused(specOf(vm_, "test"), claim_));
  ASSERT_FALSE(same_name.has_value());
  EXPECT_EQ(same_name.error().error_class, ErrorClass::Foreign);
  EXPECT_THAT(same_name.error().message, HasSubstr(test->vm.str()));
  EXPECT_EQ(classOf(host_.await(host_->destroy(claim.ref))), ErrorClass::Foreign);
  EXPECT_EQ(lookUp(test->vm)->state, DomainState::Running);
}

TEST_F(LibvirtTestDriver, AnInactiveDefinitionIsAbsentButBlocksACreate) {
  const virConnectPtr raw = virConnectOpen("test:///default");
  const virDomainPtr defined = virDomainDefineXML(raw, specOf(vm_, "vm").xml.c_str());
  ASSERT_NE(defined, nullptr);
  EXPECT_EQ(lookUp(vm_), std::nullopt);
  const Result<DomainInfo> created = host_.await(host_->createPaused(specOf(vm_, "vm"), claim_));
  ASSERT_FALSE(created.has_value());
  EXPECT_EQ(created.error().error_class, ErrorClass::Foreign);
  EXPECT_THAT(created.error().message, HasSubstr("virsh undefine"));
  virDomainUndefine(defined);
  virDomainFree(defined);
  virConnectClose(raw);
}

TEST_F(LibvirtTestDriver, XmlThatLibvirtRefusesIsInvalidAndLeavesNothing) {
  DomainSpec spec = specOf(vm_, "vm");
  spec.xml.insert(spec.xml.find("<os>"), "<nonsense/>");
  const Result<DomainInfo> created = host_.await(host_->createPaused(spec, claim_));
  ASSERT_FALSE(created.has_value());
  EXPECT_EQ(created.error().error_class, ErrorClass::Invalid) << created.error().message;
  EXPECT_THAT(created.error().message, HasSubstr("nonsense"));
  EXPECT_EQ(lookUp(vm_), std::nullopt);
  EXPECT_FALSE(host_->mayHoldLostCall(claim_.ref));
}

TEST_F(LibvirtTestDriver, OperationsOnAnAbsentDomain) {
  EXPECT_EQ(classOf(host_.await(host_->resume(claim_.ref))), ErrorClass::NotFound);
  EXPECT_EQ(classOf(host_.await(host_->shutDown(claim_.ref))), ErrorClass::NotFound);
  EXPECT_TRUE(host_.await(host_->destroy(claim_.ref)).has_value());
}

TEST_F(LibvirtTestDriver, ShutdownArrivesAsAnEvent) {
  create(specOf(vm_, "vm"), claim_);
  ASSERT_TRUE(host_.await(host_->resume(claim_.ref)).has_value());
  ASSERT_TRUE(host_.await(host_->shutDown(claim_.ref)).has_value());
  EXPECT_TRUE(host_.runUntil([&] { return host_.sawEvent(Kind::Stopped, vm_); }));
  EXPECT_EQ(host_.await(host_->whyEnded(vm_, "vm")), StopReason::Shutdown);
}

TEST_F(LibvirtTestDriver, ManyCreatesAtOnce) {
  std::vector<std::shared_ptr<std::optional<Result<DomainInfo>>>> results;
  std::vector<Claim> claims;
  for (int i = 0; i < 200; ++i) {
    claims.push_back(newClaim(newVm()));
    const DomainSpec spec = specOf(claims.back().ref.vm, "many-" + std::to_string(i));
    results.push_back(host_.begin(host_->createPaused(spec, claims.back())));
  }
  for (const auto& result : results) {
    ASSERT_TRUE(host_.runUntil([&result] { return result->has_value(); }));
    EXPECT_TRUE((*result)->has_value()) << (*result)->error().message;
  }
  const Result<std::vector<DomainInfo>> domains = host_.await(host_->list());
  ASSERT_TRUE(domains.has_value());
  EXPECT_EQ(std::count_if(domains->begin(), domains->end(),
                          [](const DomainInfo& domain) { return domain.claim.has_value(); }),
            200);
}

TEST_F(LibvirtTestDriver, NamesTheHypervisor) {
  EXPECT_TRUE(host_.sawEvent(Kind::ConnectionRestored));
  EXPECT_EQ(host_->notReadyReason(), "");
  const Result<HypervisorIdentity> identity = host_.await(host_->identity());
  ASSERT_TRUE(identity.has_value());
  EXPECT_EQ(identity->uri, "test:///default");
  EXPECT_TRUE(identity->local);
}

TEST_F(LibvirtTestDriver, ProbesByItselfWhenIdle) {
  ASSERT_TRUE(host_.runUntil([this] { return host_->lastAnswerAge() > milliseconds(1500); }));
  EXPECT_TRUE(host_.runUntil([this] { return host_->lastAnswerAge() < milliseconds(1000); }));
}

TEST_F(LibvirtTestDriver, AfterStopEverythingIsNotReady) {
  host_.stop();
  EXPECT_FALSE(host_->connected());
  EXPECT_EQ(host_.await(host_->list()).error().error_class, ErrorClass::HostNotReady);
  EXPECT_EQ(classOf(host_.await(host_->destroy(claim_.ref))), ErrorClass::HostNotReady);
  EXPECT_EQ(host_.await(host_->whyEnded(vm_, "vm")), StopReason::Unwatched);
}

TEST(LibvirtUnreachable, SaysWhatToDoAndKeepsTrying) {
  LibvirtOptions options;
  options.uri = "qemu+unix:///system?socket=/nonexistent/libvirt-sock";
  LibvirtHarness host(options);
  ASSERT_TRUE(host.runUntil(
      [&] { return host->notReadyReason().find("start libvirtd") != std::string::npos; }));
  EXPECT_THAT(host->notReadyReason(), HasSubstr("/nonexistent/libvirt-sock"));
  EXPECT_FALSE(host->connected());
  EXPECT_EQ(host.await(host->list()).error().error_class, ErrorClass::HostNotReady);
  EXPECT_EQ(
      host.await(host->createPaused(specOf(newVm(), "vm"), newClaim(newVm()))).error().error_class,
      ErrorClass::HostNotReady);
  EXPECT_GT(host->lastAnswerAge(), Duration::zero());
}

TEST(LibvirtUnreachable, MayBeDestroyedWithoutStop) {
  asio::io_context context;
  AsioClock clock;
  Rng rng(1);
  LibvirtOptions options;
  options.uri = "test:///default";
  auto hypervisor = makeLibvirtHypervisor(context.get_executor(), clock, rng, options);
  hypervisor->start([](HypervisorEvent) {});
  context.run_one_for(std::chrono::milliseconds(50));
  hypervisor.reset();
}

TEST(LibvirtErrors, CanBeSentWhateverBytesTheyHold) {
  EXPECT_EQ(virConnectOpen("test\xff\x1b[1m:///default"), nullptr);
  const Error error = lastLibvirtError("connect");
  EXPECT_THAT(error.message, HasSubstr("test"));
  proto::Frame frame;
  frame.mutable_outcome()->set_error(error.message);
  EXPECT_TRUE(proto::Frame().ParseFromString(frame.SerializeAsString())) << error.message;
}

}  // namespace
}  // namespace vms::hostagent
