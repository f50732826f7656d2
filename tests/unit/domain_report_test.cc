#include <gtest/gtest.h>

#include "runner/domain_report.h"
#include "runner/event_capture.h"
#include "schema/base/rng.h"

/// What a host may list, and what is told of it, on the engine's state alone.
namespace vms::runner {
namespace {

proto::DomainList listOf(std::uint32_t count, bool complete) {
  proto::DomainList list;
  list.set_complete(complete);
  for (std::uint32_t i = 0; i < count; ++i) {
    Uuid id;
    for (std::size_t byte = 0; byte < 4; ++byte) {
      id.bytes[byte] = static_cast<std::uint8_t>(i >> (8 * byte));
    }
    list.add_domains()->mutable_ref()->set_attempt(id.toBytes());
  }
  return list;
}

TEST(DomainReport, AListBeyondTheLimitChangesNothing) {
  constexpr std::uint32_t kMost = 100'000;
  Rng rng(7);
  EngineState state(EngineOptions{}, rng);
  Host host;
  const proto::DomainList before = listOf(3, false);
  for (const proto::Domain& domain : before.domains()) {
    host.listed["other " + domain.ref().attempt()] = domain;
  }
  for (const bool complete : {true, false}) {
    const auto refused = onDomainList(state, host, listOf(kMost + 1, complete), {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().error_class, ErrorClass::TooLarge);
    EXPECT_EQ(host.listed.size(), 3u);
  }
}

TEST(EventCapture, EachTellingOfEverythingHasItsNumber) {
  Rng rng(7);
  EngineState state(EngineOptions{}, rng);
  startCapture(state);
  const auto before = captureEvents(state, {});
  ASSERT_TRUE(before && before->complete);
  EXPECT_EQ(before->capture, state.unseen->capture);
  state.unseen.reset();
  startCapture(state);
  EXPECT_NE(before->capture, state.unseen->capture);
}

}  // namespace
}  // namespace vms::runner
