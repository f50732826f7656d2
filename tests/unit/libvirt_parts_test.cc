// The parts of the libvirt adapter that need no libvirt.
#include <gtest/gtest.h>
#include <libvirt/virterror.h>
#include <unistd.h>

#include "hostagent/libvirt/daemon_instance.h"
#include "hostagent/libvirt/domain_log.h"
#include "hostagent/libvirt/errors.h"
#include "hostagent/libvirt/lost_calls.h"

namespace vms::hostagent {
namespace {

AttemptRef refOf(std::uint8_t number) {
  AttemptRef ref;
  ref.attempt.uuid.bytes[15] = number;
  ref.vm.uuid.bytes[0] = number;
  ref.epoch = Epoch{1};
  return ref;
}

TimePoint at(int s) { return TimePoint{seconds(s)}; }

const DaemonInstance kOld{100, 1};
const DaemonInstance kNew{200, 2};

class LostCallsTest : public testing::Test {
 protected:
  void list(int second, bool present = false) {
    calls_.listed(at(second), [present](VmId) { return present; });
  }
  void barrier(DaemonInstance daemon = kOld) {
    calls_.barrierPassed(calls_.lostNow(), daemon, seconds(2));
  }
  bool may() const { return calls_.mayTakeEffect(kRef); }

  const AttemptRef kRef = refOf(1);
  LostCalls calls_;
};

TEST_F(LostCallsTest, ACallMayTakeEffectUntilItIsAnswered) {
  EXPECT_FALSE(may());
  const LostCalls::Token token = calls_.sent(kRef);
  EXPECT_TRUE(may());
  EXPECT_FALSE(calls_.mayTakeEffect(refOf(2)));
  list(0), barrier(), list(10), list(20);
  EXPECT_TRUE(may()) << "a thread waits for it still";
  calls_.answered(token);
  EXPECT_FALSE(may());
}

TEST_F(LostCallsTest, TheEndOfItsDaemonEndsIt) {
  calls_.lost(calls_.sent(kRef), kOld);
  calls_.dropEnded([](const DaemonInstance& daemon) { return daemon == kOld; });
  EXPECT_TRUE(may());
  calls_.dropEnded([](const DaemonInstance&) { return false; });
  EXPECT_FALSE(may());
}

TEST_F(LostCallsTest, ABarrierAndTwoAbsencesEndIt) {
  calls_.lost(calls_.sent(kRef), kOld);
  list(0), list(10);
  EXPECT_TRUE(may()) << "absence before the barrier proves nothing";
  EXPECT_TRUE(calls_.needsBarrier());
  barrier();
  EXPECT_FALSE(calls_.needsBarrier());
  list(20);
  EXPECT_TRUE(may()) << "one absence";
  list(21);
  EXPECT_TRUE(may()) << "too soon after the first";
  list(22);
  EXPECT_FALSE(may());
}

TEST_F(LostCallsTest, APresenceStartsTheWaitAnew) {
  calls_.lost(calls_.sent(kRef), kOld);
  barrier();
  list(0), list(1, true), list(2);
  EXPECT_TRUE(may());
  list(4);
  EXPECT_FALSE(may());
}

TEST_F(LostCallsTest, ABarrierOfAnotherDaemonSaysNothing) {
  calls_.lost(calls_.sent(kRef), kOld);
  barrier(kNew);
  EXPECT_TRUE(calls_.needsBarrier());
  list(0), list(10);
  EXPECT_TRUE(may());
}

TEST_F(LostCallsTest, ABarrierCoversOnlyWhatWasLostBeforeIt) {
  const auto covered = calls_.lostNow();
  calls_.lost(calls_.sent(kRef), kOld);
  calls_.barrierPassed(covered, kOld, seconds(2));
  list(0), list(10);
  EXPECT_TRUE(may());
}

TEST_F(LostCallsTest, NotedCallsBelongToTheDaemonOfTheDay) {
  calls_.note(kRef, std::nullopt);
  calls_.note(kRef, std::nullopt);
  EXPECT_EQ(calls_.lostNow().size(), 1u);
  calls_.dropEnded([](const DaemonInstance&) { return false; });
  EXPECT_TRUE(may()) << "of which daemon is not known";
  calls_.assumeTaker(kNew);
  calls_.dropEnded([](const DaemonInstance&) { return false; });
  EXPECT_FALSE(may());
}

TEST_F(LostCallsTest, EveryCallOfAnAttemptCounts) {
  const LostCalls::Token first = calls_.sent(kRef);
  calls_.lost(calls_.sent(kRef), kOld);
  calls_.answered(first);
  EXPECT_TRUE(may());
}

TEST(LibvirtTarget, ReadsUris) {
  EXPECT_EQ(targetOf("qemu+unix:///system?socket=/a%20b/s").socket, "/a b/s");
  EXPECT_EQ(targetOf("qemu+unix:///system?mode=legacy&socket=/s").socket, "/s");
  EXPECT_TRUE(targetOf("qemu:///system").local);
  EXPECT_FALSE(targetOf("qemu:///system").in_process);
  EXPECT_TRUE(targetOf("test:///default").volatile_domains);
  EXPECT_TRUE(targetOf("qemu:///embed?root=/x").in_process);
  EXPECT_FALSE(targetOf("qemu:///embed?root=/x").volatile_domains);
  for (const char* remote : {"qemu+ssh://h/system", "qemu://h/system", "qemu+tls:///system", "x"}) {
    EXPECT_FALSE(targetOf(remote).local) << remote;
    EXPECT_EQ(targetOf(remote).socket, "") << remote;
  }
}

TEST(DaemonInstances, AProcessIsKnownByItsStart) {
  EXPECT_FALSE(isAlive(DaemonInstance{::getpid(), 1}));
  EXPECT_FALSE(isAlive(DaemonInstance{0, 0}));
  EXPECT_EQ(daemonBehind("/nonexistent"), std::nullopt);
  EXPECT_EQ(daemonBehind(std::string(200, 'x')), std::nullopt);
}

const VmId kVm{*Uuid::parse("0b0e5ac4-7a4e-4f5c-9d3e-3c1f6a2b9d01")};

std::string life(const std::string& end, const std::string& uuid = kVm.str()) {
  return "2026-11-21 00:00:00.000+0000: starting up libvirt version: 9.0.0\n/usr/bin/qemu -uuid " +
         uuid + " -S \\\n" + end;
}

std::string ended(const std::string& reason) {
  return "2026-11-21 00:00:01.000+0000: shutting down, reason=" + reason + "\n";
}

TEST(DomainLog, ReadsTheLastEnd) {
  EXPECT_EQ(stopReasonInLog(life(ended("crashed")), kVm), StopReason::Crashed);
  EXPECT_EQ(stopReasonInLog(life(ended("destroyed")), kVm), StopReason::Destroyed);
  EXPECT_EQ(stopReasonInLog(life(ended("shutdown")), kVm), StopReason::Shutdown);
  EXPECT_EQ(stopReasonInLog(life(ended("saved")), kVm), StopReason::Saved);
  EXPECT_EQ(stopReasonInLog(life(ended("migrated")), kVm), StopReason::Migrated);
  EXPECT_EQ(stopReasonInLog(life(ended("failed")), kVm), StopReason::Failed);
  EXPECT_EQ(stopReasonInLog(life(ended("crashed")) + life(ended("saved")), kVm), StopReason::Saved);
}

TEST(DomainLog, WhatItDoesNotSayIsUnwatched) {
  EXPECT_EQ(stopReasonInLog("", kVm), StopReason::Unwatched);
  EXPECT_EQ(stopReasonInLog(ended("crashed"), kVm), StopReason::Unwatched);
  EXPECT_EQ(stopReasonInLog(life(""), kVm), StopReason::Unwatched);
  EXPECT_EQ(stopReasonInLog(life(ended("crashed")) + life(""), kVm), StopReason::Unwatched);
  EXPECT_EQ(stopReasonInLog(life(ended("daemon")), kVm), StopReason::Unwatched);
  EXPECT_EQ(stopReasonInLog(life(ended("crashed"), "other"), kVm), StopReason::Unwatched);
}

TEST(LibvirtErrors, AreClassified) {
  EXPECT_EQ(classifyLibvirtError(VIR_FROM_RPC, VIR_ERR_SYSTEM_ERROR), ErrorClass::UnknownOutcome);
  EXPECT_EQ(classifyLibvirtError(VIR_FROM_RPC, VIR_ERR_INTERNAL_ERROR), ErrorClass::UnknownOutcome);
  EXPECT_EQ(classifyLibvirtError(VIR_FROM_QEMU, VIR_ERR_NO_DOMAIN), ErrorClass::NotFound);
  EXPECT_EQ(classifyLibvirtError(VIR_FROM_DOMAIN, VIR_ERR_XML_ERROR), ErrorClass::Invalid);
  EXPECT_EQ(classifyLibvirtError(VIR_FROM_XML, VIR_ERR_XML_INVALID_SCHEMA), ErrorClass::Invalid);
  EXPECT_EQ(classifyLibvirtError(VIR_FROM_NETWORK, VIR_ERR_NO_NETWORK), ErrorClass::Dependency);
  EXPECT_EQ(classifyLibvirtError(VIR_FROM_STORAGE, VIR_ERR_SYSTEM_ERROR), ErrorClass::Dependency);
  EXPECT_EQ(classifyLibvirtError(VIR_FROM_QEMU, VIR_ERR_OPERATION_FAILED),
            ErrorClass::HostRejected);
  EXPECT_EQ(classifyLibvirtError(VIR_FROM_QEMU, VIR_ERR_OPERATION_TIMEOUT), ErrorClass::Busy);
  EXPECT_EQ(classifyLibvirtError(VIR_FROM_REMOTE, VIR_ERR_AUTH_FAILED), ErrorClass::Forbidden)
      << "a refused login is no lost connection";
}

}  // namespace
}  // namespace vms::hostagent
