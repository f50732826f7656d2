#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "runner/domain_report.h"
#include "runner/engine.h"
#include "runner/moved_domains.h"
#include "runner/reconciler.h"
#include "runner/session_book.h"
#include "runner/views.h"
#include "schema/frames.h"

/// What agents speak of and this engine's database does not know (S8, S9, S11).
namespace vms::runner {
namespace {

class Strangers : public testing::Test {
 protected:
  Strangers() { start({}); }

  void start(std::vector<HostRecord> hosts) {
    EngineOptions options;
    options.max_strangers = 3;
    engine_ = std::make_unique<Engine>(std::move(options), rng_);
    Snapshot snapshot;
    snapshot.marks.store_id.uuid.bytes.fill(5);
    snapshot.marks.term = Term{2};
    snapshot.marks.commit = CommitNumber{100};
    snapshot.hosts = std::move(hosts);
    engine_->restore(std::move(snapshot), now_);
    h1_ = connect("h1");
  }
  /// The engine ends, and starts with the host as it was stored.
  void restart() { start({state().hosts["h1"].record}); }

  EngineState& state() { return engine_->state(); }

  static AttemptRef ref(std::uint8_t number) {
    AttemptRef ref;
    ref.attempt.uuid.bytes.fill(static_cast<std::uint8_t>(100 + number));
    ref.vm.uuid.bytes.fill(number);
    ref.epoch = Epoch{1};
    return ref;
  }

  SessionNumber connect(const std::string& host) {
    proto::Hello hello;
    hello.set_protocol_min(kProtocolMin);
    hello.set_protocol_max(kProtocolMax);
    hello.set_host(host);
    hello.set_hardware_uuid("hardware of " + host);
    hello.set_boot_id("boot");
    hello.set_readiness(proto::READY);
    const auto session = openSession(state(), host, hello, now_);
    EXPECT_TRUE(session) << session.error().message;
    return session ? *session : 0;
  }
  void reconnect() {
    closeSession(state(), h1_, now_);
    h1_ = connect("h1");
  }

  Result<void> say(SessionNumber session, proto::Frame frame) {
    frame.set_session(session);
    frame.set_term(2);
    return onFrame(state(), session, frame, now_);
  }
  Result<void> started(std::uint8_t number) {
    proto::Frame frame;
    refToProto(ref(number), frame.mutable_outcome()->mutable_ref());
    frame.mutable_outcome()->set_kind(proto::Outcome::STARTED);
    return say(h1_, std::move(frame));
  }
  Result<void> ended(std::uint8_t number, const std::string& reason) {
    proto::Frame frame;
    refToProto(ref(number), frame.mutable_outcome()->mutable_ref());
    frame.mutable_outcome()->set_kind(proto::Outcome::ENDED);
    frame.mutable_outcome()->set_stop_reason(reason);
    return say(h1_, std::move(frame));
  }
  /// A complete list of foreign domains, and of those that have moved on.
  void list(SessionNumber session, const std::vector<std::uint8_t>& foreign,
            const std::vector<std::uint8_t>& moved_on = {}) {
    proto::Frame frame;
    proto::DomainList& message = *frame.mutable_domain_list();
    message.set_complete(true);
    message.mutable_hypervisor()->set_host_uuid("hypervisor");
    const auto fill = [](std::uint8_t number, proto::Domain& domain) {
      domain.mutable_ref()->set_vm(ref(number).vm.uuid.toBytes());
      domain.set_name("vm");
      domain.set_foreign(true);
    };
    for (const std::uint8_t number : foreign) fill(number, *message.add_domains());
    for (const std::uint8_t number : moved_on) fill(number, *message.add_moved_on());
    const auto done = say(session, std::move(frame));
    EXPECT_TRUE(done) << done.error().message;
  }
  void confirm() {
    const auto done = engine_->confirmHost("h1", now_);
    EXPECT_TRUE(done) << done.error().message;
  }
  /// The host that keeps the VM from being started.
  std::string heldBy(std::uint8_t number) {
    const HostId* const host = state().foreignHostOf(ref(number).vm);
    return host == nullptr ? std::string() : *host;
  }

  Now now_{TimePoint{} + seconds(1), WallTime{1'800'000'000'000}};
  Rng rng_{1};
  std::unique_ptr<Engine> engine_;
  SessionNumber h1_ = 0;
};

TEST_F(Strangers, AreKeptInMindUntilTheNextCompleteList) {
  ASSERT_TRUE(started(1));
  ASSERT_TRUE(started(2));
  reconnect();
  ASSERT_TRUE(started(2));
  EXPECT_EQ(heldBy(1), "h1") << "a reconnection proves nothing";
  list(h1_, {});
  EXPECT_EQ(heldBy(1), "");
  EXPECT_EQ(heldBy(2), "h1");
  ASSERT_TRUE(ended(2, "shutdown"));
  EXPECT_EQ(heldBy(2), "");
}

TEST_F(Strangers, AreKeptInMindOverARestartUntilTheNextCompleteList) {
  list(h1_, {1, 2, 3});
  restart();
  ASSERT_TRUE(started(4));
  EXPECT_EQ(heldBy(1), "h1") << "news of another VM proves nothing";
  ASSERT_TRUE(ended(2, "shutdown"));
  EXPECT_EQ(heldBy(2), "h1") << "an attempt of it is over; what was foreign may be another";
  list(h1_, {3});
  EXPECT_EQ(heldBy(1), "");
  EXPECT_EQ(heldBy(2), "");
  EXPECT_EQ(heldBy(3), "h1");
}

TEST_F(Strangers, ThatWereMovedAwayAreHeldOverARestartUntilAPersonConfirmsTheHost) {
  list(h1_, {1});
  ASSERT_TRUE(ended(1, "migrated"));
  list(h1_, {});
  restart();
  EXPECT_EQ(heldBy(1), "h1");
  confirm();
  EXPECT_EQ(heldBy(1), "") << "also when the host tells no more";
}

TEST_F(Strangers, ThatWereMovedAwayAreHeldUntilAHostListsThem) {
  ASSERT_TRUE(started(1));
  ASSERT_TRUE(ended(1, "migrated"));
  list(h1_, {});
  reconnect();
  list(h1_, {});
  EXPECT_EQ(heldBy(1), "h1");
  EXPECT_EQ(whereElse(state(), ref(1).vm)->next_step,
            "end it where it is, then 'vmsctl host confirm h1'");
  const SessionNumber h2 = connect("h2");
  list(h2, {1});
  EXPECT_EQ(heldBy(1), "h2");
  EXPECT_TRUE(state().hosts["h1"].record.moved.empty());
  list(h2, {});
  EXPECT_EQ(heldBy(1), "");
}

TEST_F(Strangers, ThatWereMovedAwayAreHeldUntilAPersonConfirmsTheHost) {
  ASSERT_TRUE(ended(1, "migrated"));
  EXPECT_EQ(heldBy(1), "h1");
  confirm();
  EXPECT_EQ(heldBy(1), "");
}

/// Who confirms a host after a restore has looked at what runs there, and not at what has left.
TEST_F(Strangers, ThatWereMovedAwayNeedAConfirmationOfTheirOwn) {
  ASSERT_TRUE(ended(1, "migrated"));
  state().hosts["h1"].record.confirmed = false;
  const auto moved = [this] { return viewOf(state(), state().hosts["h1"], now_).moved_domains; };
  confirm();
  EXPECT_EQ(heldBy(1), "h1");
  EXPECT_EQ(moved(), std::vector<std::string>{ref(1).vm.str()}) << "the answer says what is left";
  confirm();
  EXPECT_EQ(heldBy(1), "");
  EXPECT_EQ(moved(), std::vector<std::string>{});
}

TEST_F(Strangers, ThatMoveOnAreHeldByTheHostThatTheyLeft) {
  list(h1_, {1, 2});
  list(h1_, {}, {1});
  EXPECT_EQ(heldBy(1), "h1");
  EXPECT_EQ(heldBy(2), "");
  confirm();
  list(h1_, {}, {1});
  EXPECT_EQ(heldBy(1), "") << "told again after a person has looked";
}

TEST_F(Strangers, OneAtATimeOrAllTogetherTheSameAreForeign) {
  for (int step = 0; step < 500; ++step) {
    const auto number = static_cast<std::uint8_t>(1 + rng_.below(3));
    switch (rng_.below(5)) {
      case 0:
        list(h1_, {number});
        break;
      case 1:
        ASSERT_TRUE(ended(number, "migrated"));
        break;
      case 2:
        ASSERT_TRUE(ended(number, "shutdown"));
        break;
      default:
        ASSERT_TRUE(started(number));
    }
    if (step % 50 == 49) confirm();
    Host& host = state().hosts["h1"];
    const std::vector<std::string> one_at_a_time = host.record.foreign;
    const auto held = state().foreign;
    markForeign(state(), host);
    ASSERT_EQ(host.record.foreign, one_at_a_time) << "step " << step;
    ASSERT_EQ(state().foreign, held) << "step " << step;
  }
}

TEST_F(Strangers, TooManyMeanAnotherDatabase) {
  for (std::uint8_t number = 1; number <= 3; ++number) ASSERT_TRUE(started(number));
  ASSERT_TRUE(started(3));
  EXPECT_FALSE(state().marks.restored);
  const auto refused = started(4);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().error_class, ErrorClass::TooLarge);
  EXPECT_TRUE(state().marks.restored);
  EXPECT_FALSE(engine_->mayStart());
  EXPECT_EQ(heldBy(3), "h1");
}

TEST_F(Strangers, TooManyThatWereMovedAwayMeanAnotherDatabase) {
  for (std::uint8_t number = 1; number <= 3; ++number) ASSERT_TRUE(ended(number, "migrated"));
  EXPECT_FALSE(ended(4, "migrated"));
  EXPECT_TRUE(state().marks.restored);
}

}  // namespace
}  // namespace vms::runner
