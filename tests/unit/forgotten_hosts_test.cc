#include "runner/forgotten_hosts.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "runner/dispatcher.h"
#include "runner/engine.h"
#include "runner/reads.h"
#include "runner/reconciler.h"
#include "runner/run_book.h"
#include "runner/session_book.h"
#include "runner/views.h"
#include "schema/frames.h"

/// A person says that a host is off for good (S18).
namespace vms::runner {
namespace {

class ForgottenHosts : public testing::Test {
 protected:
  ForgottenHosts() {
    engine_ = std::make_unique<Engine>(EngineOptions(), rng_);
    Snapshot snapshot;
    snapshot.marks.store_id.uuid.bytes.fill(5);
    snapshot.marks.term = Term{2};
    snapshot.marks.commit = CommitNumber{100};
    VmRecord vm;
    vm.spec.id.uuid.bytes.fill(7);
    vm.spec.name = "web1";
    vm.epoch = Epoch{1};
    AttemptRecord attempt;
    attempt.ref.attempt.uuid.bytes.fill(9);
    attempt.ref.vm = vm.spec.id;
    attempt.ref.epoch = Epoch{1};
    attempt.vm_name = "web1";
    attempt.host = "h1";
    attempt.boot_id = "boot";
    attempt.state = AttemptState::Running;
    attempt.running_at = now_.wall;
    snapshot.vms.push_back(vm);
    snapshot.attempts.push_back(attempt);
    HostRecord host;
    host.id = "h1";
    host.hardware_uuid = "hardware";
    host.boot_id = "boot";
    snapshot.hosts.push_back(host);
    snapshot.marks.restored = true;
    engine_->restore(std::move(snapshot), now_);
  }

  EngineState& state() { return engine_->state(); }
  Host& host() { return state().hosts.at("h1"); }
  const AttemptRecord& attempt() { return state().attempts.begin()->second.record; }
  Result<void> forget(bool fenced) { return forgetHost(state(), "h1", "alice", fenced, now_); }

  Result<SessionNumber> connect(const std::string& hardware, const std::string& boot) {
    proto::Hello hello;
    hello.set_protocol_min(kProtocolMin);
    hello.set_protocol_max(kProtocolMax);
    hello.set_host("h1");
    hello.set_hardware_uuid(hardware);
    hello.set_boot_id(boot);
    hello.set_readiness(proto::READY);
    return openSession(state(), "h1", hello, now_);
  }

  Result<void> say(SessionNumber session, proto::Frame frame) {
    frame.set_session(session);
    frame.set_term(2);
    return onFrame(state(), session, frame, now_);
  }
  HostView view() { return viewOf(state(), host(), now_); }

  Now now_{TimePoint{} + seconds(1), WallTime{1'800'000'000'000}};
  Rng rng_{1};
  std::unique_ptr<Engine> engine_;
};

TEST_F(ForgottenHosts, AreNotForgottenWhileConnected) {
  ASSERT_TRUE(connect("hardware", "boot"));
  const auto done = forget(true);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().error_class, ErrorClass::Busy);
  EXPECT_NE(done.error().message.find("is connected"), std::string::npos);
}

TEST_F(ForgottenHosts, AreNotForgottenWhileSomethingMayRunThere) {
  const auto done = forget(false);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message,
            "host 'h1' may still run VMs; make sure that the machine is off, then 'vmsctl host "
            "forget h1 --fenced'");
  EXPECT_EQ(attempt().state, AttemptState::Running);
  state().marks.restored = false;
  EXPECT_NE(forget(false).error().message.find("may still run 1 VM;"), std::string::npos);
}

TEST_F(ForgottenHosts, MayRunWhatARestoredDatabaseHasForgotten) {
  closeAttempt(state(), state().attempts.begin()->second, AttemptState::Ended, std::nullopt, now_);
  EXPECT_FALSE(forget(false));
  state().marks.restored = false;
  EXPECT_TRUE(forget(false));
}

TEST_F(ForgottenHosts, AreNotForgottenWhileWhatLeftThemMayBeAlive) {
  host().record.moved = {attempt().ref.vm.str()};
  const auto done = forget(true);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message,
            "host 'h1' was left by 1 VM that somebody else moved away; end what has moved where it "
            "is, then 'vmsctl host confirm h1'");
}

TEST_F(ForgottenHosts, EndWhatAPersonSaysIsOff) {
  ASSERT_TRUE(forget(true));
  EXPECT_EQ(attempt().state, AttemptState::Ended);
  EXPECT_EQ(attempt().proof, Proof::Confirmed);
  EXPECT_EQ(attempt().error, "alice confirmed that host h1 is off for good");
  EXPECT_EQ(host().record.forgotten_by, "alice");
  EXPECT_FALSE(state().vms.begin()->second.attempt) << "the VM may be started elsewhere";
  EXPECT_TRUE(listHosts(state(), now_)->empty());
  EXPECT_TRUE(state().hasChanges());
}

TEST_F(ForgottenHosts, EndAsIntendedWhatHadBeenToldToStop) {
  const AttemptId id = state().attempts.begin()->first;
  state().attempt(id).record.stop_wished = AttemptRecord::StopWish::Shutdown;
  ASSERT_TRUE(forget(true));
  EXPECT_EQ(attempt().error_class, ErrorClass::IntendedStop);
}

TEST_F(ForgottenHosts, AreNotWaitedForAfterARestore) {
  EXPECT_FALSE(engine_->restoreIsOver());
  ASSERT_TRUE(forget(true));
  EXPECT_TRUE(engine_->restoreIsOver());
}

TEST_F(ForgottenHosts, AreUnknownToWhoeverAsksAgain) {
  ASSERT_TRUE(forget(true));
  const auto again = forget(true);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().error_class, ErrorClass::NotFound);
  EXPECT_EQ(again.error().message,
            "host 'h1' was forgotten by alice; it is known again once its agent connects");
  EXPECT_EQ(engine_->confirmHost("h1", now_).error().error_class, ErrorClass::NotFound);
}

TEST_F(ForgottenHosts, AreQuarantinedWhenTheyComeBack) {
  ASSERT_TRUE(forget(true));
  ASSERT_TRUE(connect("hardware", "boot"));
  EXPECT_EQ(host().record.forgotten_by, "");
  EXPECT_NE(whyNotSchedulable(state(), host()).find("quarantined: alice said"), std::string::npos);
}

/// The person was wrong: what ran there still does, until its host says that it has ended.
TEST_F(ForgottenHosts, TellOfWhatStillRunsWhenTheyComeBack) {
  const VmId vm = attempt().ref.vm;
  ASSERT_TRUE(forget(true));
  EXPECT_EQ(state().foreignHostOf(vm), nullptr);
  const auto session = connect("hardware", "boot");
  ASSERT_TRUE(session);
  proto::Frame list;
  list.mutable_domain_list()->set_complete(true);
  list.mutable_domain_list()->mutable_hypervisor()->set_host_uuid("hypervisor");
  refToProto(attempt().ref, list.mutable_domain_list()->add_domains()->mutable_ref());
  ASSERT_TRUE(say(*session, list));
  ASSERT_NE(state().foreignHostOf(vm), nullptr);
  EXPECT_EQ(attempt().stop_reason, "proof_refuted") << "so the history shows who was wrong";
  EXPECT_EQ(attempt().proof, Proof::Confirmed);
  EXPECT_EQ(view().foreign_domains, std::vector<std::string>{"web1"});

  proto::Frame ended;
  refToProto(attempt().ref, ended.mutable_outcome()->mutable_ref());
  ended.mutable_outcome()->set_kind(proto::Outcome::ENDED);
  ended.mutable_outcome()->set_stop_reason("crashed");
  ASSERT_TRUE(say(*session, ended));
  EXPECT_EQ(state().foreignHostOf(vm), nullptr) << "the VM may be started elsewhere";
  EXPECT_EQ(view().foreign_domains, std::vector<std::string>{});
}

TEST_F(ForgottenHosts, LeaveTheirNameToAnotherMachine) {
  ASSERT_TRUE(forget(true));
  ASSERT_TRUE(connect("other hardware", "other boot"));
  EXPECT_EQ(host().record.alarm, "");
  EXPECT_EQ(host().record.hardware_uuid, "other hardware");
  EXPECT_EQ(host().record.retired_boots, std::vector<std::string>{"boot"});
  EXPECT_FALSE(host().record.confirmed) << "after a restore every host is confirmed";
}

}  // namespace
}  // namespace vms::runner
