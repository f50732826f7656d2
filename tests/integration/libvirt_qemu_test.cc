// The adapter on a real libvirtd with QEMU: what is built, and what happens when the daemon ends.
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <set>

#include "hostagent/libvirt/libvirt_check.h"
#include "tests/integration/libvirt_daemon_fixture.h"

namespace vms::hostagent {
namespace {

using testing::HasSubstr;
using Kind = HypervisorEvent::Kind;

class LibvirtQemu : public LibvirtDaemon {
 protected:
  static std::optional<DomainInfo> lookUp(LibvirtHarness& host, VmId vm) {
    const Result<std::optional<DomainInfo>> found = host.await(host->lookUp(vm));
    EXPECT_TRUE(found.has_value()) << (found ? "" : found.error().message);
    return found ? *found : std::nullopt;
  }

  static void create(LibvirtHarness& host, const DomainSpec& spec, const Claim& claim) {
    const Result<DomainInfo> created = host.await(host->createPaused(spec, claim));
    ASSERT_TRUE(created.has_value()) << created.error().message;
    EXPECT_EQ(created->state, DomainState::Paused);
    EXPECT_EQ(created->claim, claim);
  }

  static pid_t emulatorOf(const std::string& folder, const std::string& name) {
    std::ifstream file(folder + "/libvirt/run/qemu/" + name + ".pid");
    pid_t pid = 0;
    file >> pid;
    return pid;
  }
};

TEST_F(LibvirtQemu, APausedGuestRunsNothingUntilItIsResumed) {
  LibvirtHarness host(options());
  host.connect();
  const VmId vm = newVm();
  const Claim claim = newClaim(vm);
  create(host, specOf(vm, "guest"), claim);
  const std::optional<DomainInfo> found = lookUp(host, vm);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->state, DomainState::Paused);
  EXPECT_EQ(found->claim, claim);
  EXPECT_EQ(found->memory, 16u << 20u);
  EXPECT_EQ(found->vcpus, 1u);
  EXPECT_EQ(serialOf("guest"), "");

  ASSERT_TRUE(host.await(host->resume(claim.ref)).has_value());
  EXPECT_TRUE(
      host.runUntil([&] { return serialOf("guest").find("UP " + vm.str()) != std::string::npos; }));
  const pid_t emulator = emulatorOf(folder_, "guest");
  EXPECT_TRUE(isRunning(emulator));
  ASSERT_TRUE(host.await(host->destroy(claim.ref)).has_value());
  EXPECT_FALSE(isRunning(emulator));
  EXPECT_EQ(lookUp(host, vm), std::nullopt);
  EXPECT_TRUE(host.runUntil([&] { return host.sawEvent(Kind::Stopped, vm); }));
  EXPECT_EQ(host.await(host->whyEnded(vm, "guest")), StopReason::Destroyed);
}

TEST_F(LibvirtQemu, AGuestThatSomebodyPausedIsToldFromOneThatNeverRan) {
  LibvirtHarness host(options());
  host.connect();
  const VmId vm = newVm();
  const Claim claim = newClaim(vm);
  create(host, specOf(vm, "guest"), claim);
  EXPECT_TRUE(lookUp(host, vm)->never_ran);
  ASSERT_TRUE(host.await(host->resume(claim.ref)).has_value());
  virsh({"suspend", "guest"});
  ASSERT_EQ(lookUp(host, vm)->state, DomainState::Paused);
  EXPECT_FALSE(lookUp(host, vm)->never_ran);
  virsh({"save", "guest", folder_ + "/guest.save"});
  ASSERT_EQ(lookUp(host, vm), std::nullopt);
  virsh({"restore", folder_ + "/guest.save", "--paused"});
  const std::optional<DomainInfo> restored = lookUp(host, vm);
  ASSERT_TRUE(restored.has_value());
  EXPECT_EQ(restored->state, DomainState::Paused);
  EXPECT_EQ(restored->claim, claim);
  EXPECT_FALSE(restored->never_ran);
}

TEST_F(LibvirtQemu, ADuplicateIsRecognisedByItsClaim) {
  LibvirtHarness host(options());
  host.connect();
  const VmId vm = newVm();
  const Claim claim = newClaim(vm, 1);
  create(host, specOf(vm, "guest"), claim);
  create(host, specOf(vm, "guest"), claim);
  const Result<DomainInfo> other =
      host.await(host->createPaused(specOf(vm, "guest"), newClaim(vm, 2)));
  ASSERT_FALSE(other.has_value());
  EXPECT_EQ(other.error().error_class, ErrorClass::Superseded);
  EXPECT_EQ(lookUp(host, vm)->claim, claim);
}

TEST_F(LibvirtQemu, CreatesOfOneAttemptAtTheSameTimeMakeOneDomain) {
  LibvirtHarness host(options());
  host.connect();
  const VmId vm = newVm();
  const Claim claim = newClaim(vm);
  std::vector<std::shared_ptr<std::optional<Result<DomainInfo>>>> results;
  for (int i = 0; i < 4; ++i) {
    results.push_back(host.begin(host->createPaused(slowSpecOf(vm, "guest", 1), claim)));
  }
  for (const auto& result : results) {
    ASSERT_TRUE(host.runUntil([&result] { return result->has_value(); }));
    ASSERT_TRUE((*result)->has_value()) << (*result)->error().message;
    EXPECT_EQ((**result)->state, DomainState::Paused);
  }
  EXPECT_EQ(host.await(host->list())->size(), 1u);
}

TEST_F(LibvirtQemu, ForeignDomainsAreReportedAndUntouched) {
  LibvirtHarness host(options());
  host.connect();
  const VmId vm = newVm();
  std::ofstream(folder_ + "/foreign.xml") << specOf(vm, "foreign").xml;
  virsh({"create", folder_ + "/foreign.xml"});
  const Claim claim = newClaim(vm);
  const Result<DomainInfo> created = host.await(host->createPaused(specOf(vm, "foreign"), claim));
  ASSERT_FALSE(created.has_value());
  EXPECT_EQ(created.error().error_class, ErrorClass::Foreign);
  const VmId namesake = newVm();
  const Result<DomainInfo> same_name =
      host.await(host->createPaused(specOf(namesake, "foreign"), newClaim(namesake)));
  ASSERT_FALSE(same_name.has_value());
  EXPECT_EQ(same_name.error().error_class, ErrorClass::Foreign);
  EXPECT_EQ(host.await(host->destroy(claim.ref)).error().error_class, ErrorClass::Foreign);
  EXPECT_EQ(host.await(host->resume(claim.ref)).error().error_class, ErrorClass::Foreign);
  const Result<std::vector<DomainInfo>> domains = host.await(host->list());
  ASSERT_TRUE(domains.has_value());
  ASSERT_EQ(domains->size(), 1u);
  EXPECT_EQ(domains->front().claim, std::nullopt);
  EXPECT_EQ(domains->front().state, DomainState::Running);
}

TEST_F(LibvirtQemu, AFailedCreateLeavesNothing) {
  LibvirtHarness host(options());
  host.connect();
  const VmId vm = newVm();
  const Claim claim = newClaim(vm);
  DomainSpec spec = specOf(vm, "guest");
  const std::string rom = "/guest.rom";
  spec.xml.replace(spec.xml.find(rom), rom.size(), "/missing.rom");
  const Result<DomainInfo> created = host.await(host->createPaused(spec, claim));
  ASSERT_FALSE(created.has_value());
  EXPECT_EQ(created.error().error_class, ErrorClass::HostRejected) << created.error().message;
  EXPECT_THAT(created.error().message, HasSubstr("missing.rom"));
  EXPECT_EQ(lookUp(host, vm), std::nullopt);
  EXPECT_TRUE(host.await(host->list())->empty());
  EXPECT_FALSE(host->mayHoldLostCall(claim.ref));
}

TEST_F(LibvirtQemu, SurvivesARestartOfTheDaemon) {
  LibvirtHarness host(options());
  host.connect();
  const Result<HypervisorIdentity> before = host.await(host->identity());
  const VmId vm = newVm();
  const Claim claim = newClaim(vm);
  create(host, specOf(vm, "guest"), claim);
  ASSERT_TRUE(host.await(host->resume(claim.ref)).has_value());

  killDaemon(SIGKILL);
  ASSERT_TRUE(host.runUntil([&] { return host.sawEvent(Kind::ConnectionLost); }));
  EXPECT_FALSE(host->connected());
  EXPECT_NE(host->notReadyReason(), "");
  EXPECT_EQ(host.await(host->list()).error().error_class, ErrorClass::HostNotReady);
  host.events.clear();
  startDaemon();
  ASSERT_TRUE(host.runUntil([&] { return host.sawEvent(Kind::ConnectionRestored); }));

  const std::optional<DomainInfo> found = lookUp(host, vm);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->claim, claim);
  EXPECT_EQ(found->state, DomainState::Running);
  EXPECT_EQ(*host.await(host->identity()), *before);
  ASSERT_TRUE(host.await(host->destroy(claim.ref)).has_value());
  EXPECT_TRUE(host.runUntil([&] { return host.sawEvent(Kind::Stopped, vm); }))
      << "events flow again";
  EXPECT_EQ(lookUp(host, vm), std::nullopt);
}

TEST_F(LibvirtQemu, ACreateThatTheDaemonsEndInterruptsIsSettled) {
  LibvirtHarness host(options());
  host.connect();
  const VmId vm = newVm();
  const Claim claim = newClaim(vm);
  const auto created = host.begin(host->createPaused(slowSpecOf(vm, "guest", 3), claim));
  ASSERT_TRUE(host.runUntil([&] { return !virsh({"list", "--name"}).empty(); }));
  EXPECT_EQ(lookUp(host, vm)->state, DomainState::Starting);
  EXPECT_TRUE(host->mayHoldLostCall(claim.ref)) << "not answered yet";
  killDaemon(SIGKILL);
  startDaemon();
  ASSERT_TRUE(host.runUntil([&] { return created->has_value(); }));
  ASSERT_FALSE((*created)->has_value());
  EXPECT_EQ((*created)->error().error_class, ErrorClass::HostNotReady)
      << (*created)->error().message;
  EXPECT_FALSE(host->mayHoldLostCall(claim.ref)) << "its daemon has ended";
  EXPECT_EQ(lookUp(host, vm), std::nullopt);
}

TEST_F(LibvirtQemu, AHungDaemonBlocksNeitherTheOwnerNorStop) {
  LibvirtHarness host(options());
  host.connect();
  const VmId vm = newVm();
  create(host, specOf(vm, "guest"), newClaim(vm));
  const pid_t daemon = daemonPid();
  ASSERT_EQ(::kill(daemon, SIGSTOP), 0);
  const auto lost = host.begin(host->createPaused(specOf(newVm(), "late"), newClaim(newVm())));
  EXPECT_TRUE(host.runUntil([&] { return host.sawEvent(Kind::ConnectionLost); }));
  EXPECT_TRUE(host.runUntil([&] { return host->lastAnswerAge() > seconds(4); }));
  EXPECT_FALSE(host->connected());
  EXPECT_NE(host->notReadyReason(), "");
  EXPECT_FALSE(lost->has_value());

  const TimePoint began = host.clock.now();
  host.stop();
  EXPECT_LT(host.clock.now() - began, seconds(10)) << "far less than any call's time-out";
  EXPECT_TRUE(lost->has_value());
  ::kill(daemon, SIGCONT);
}

TEST_F(LibvirtQemu, AHungDaemonThatGoesOnIsUsedAgain) {
  LibvirtHarness host(options());
  host.connect();
  const VmId vm = newVm();
  const Claim claim = newClaim(vm);
  create(host, specOf(vm, "guest"), claim);
  const pid_t daemon = daemonPid();
  ASSERT_EQ(::kill(daemon, SIGSTOP), 0);
  EXPECT_TRUE(host.runUntil([&] {
    return host->notReadyReason().find("libvirtd hangs") != std::string::npos;
  })) << host->notReadyReason();
  host.events.clear();
  ::kill(daemon, SIGCONT);
  ASSERT_TRUE(host.runUntil([&] { return host.sawEvent(Kind::ConnectionRestored); }));
  EXPECT_EQ(lookUp(host, vm)->claim, claim);
}

TEST_F(LibvirtQemu, AnEndThatNobodyWatchedIsReadFromTheLog) {
  const VmId vm = newVm();
  const Claim claim = newClaim(vm);
  {
    LibvirtHarness host(options());
    host.connect();
    create(host, specOf(vm, "guest"), claim);
    ASSERT_TRUE(host.await(host->resume(claim.ref)).has_value());
    ASSERT_EQ(::kill(emulatorOf(folder_, "guest"), SIGKILL), 0);
    ASSERT_TRUE(host.runUntil([&] { return host.sawEvent(Kind::Stopped, vm); }));
    EXPECT_EQ(host.await(host->whyEnded(vm, "guest")), StopReason::Crashed);
  }
  LibvirtHarness later(options());
  later.connect();
  EXPECT_EQ(lookUp(later, vm), std::nullopt);
  EXPECT_EQ(later.await(later->whyEnded(vm, "guest")), StopReason::Crashed);
  EXPECT_EQ(later.await(later->whyEnded(newVm(), "guest")), StopReason::Unwatched);
  EXPECT_EQ(later.await(later->whyEnded(vm, "../log/qemu/guest")), StopReason::Unwatched);
}

TEST_F(LibvirtQemu, TheCheckReadsTheConfigurationOfThatVeryDaemon) {
  const Result<std::vector<LibvirtFinding>> findings = checkLibvirt(options());
  ASSERT_TRUE(findings.has_value()) << findings.error().message;
  for (const LibvirtFinding& finding : *findings) {
    // This daemon is tuned, unlike the defaults; only /dev/kvm may be at fault.
    EXPECT_THAT(finding.what, HasSubstr("/dev/kvm"));
  }
}

}  // namespace
}  // namespace vms::hostagent
