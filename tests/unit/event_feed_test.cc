#include "runner/event_feed.h"

#include <gtest/gtest.h>

#include <set>

#include "runner/event_capture.h"

namespace vms::runner {
namespace {

VmId vmId(int number) {
  VmId id;
  id.uuid.bytes[14] = static_cast<std::uint8_t>(number >> 8);
  id.uuid.bytes[15] = static_cast<std::uint8_t>(number);
  return id;
}
RequestId requestId(int number) { return RequestId{vmId(number).uuid}; }

VmEvent vm(int number, const std::string& state) {
  VmEvent event;
  event.vm = vmId(number);
  event.vm_name = "vm" + std::to_string(number);
  event.state = state;
  return event;
}

RequestView request(int number, const std::string& state) {
  RequestView view;
  view.request.id = requestId(number);
  view.state = state;
  return view;
}

HostEvent host(const std::string& name, const std::string& state) {
  HostEvent event;
  event.host = name;
  event.state = state;
  return event;
}

EventBatch vms(std::vector<VmEvent> rows) {
  EventBatch batch;
  batch.vms = std::move(rows);
  return batch;
}

/// What a client makes of its stream.
struct Client {
  std::map<VmId, std::string> vms;
  std::map<RequestId, std::string> requests;
  std::map<HostId, std::string> hosts;
  std::optional<EventId> last;
  int resets = 0, snapshots = 0, deltas = 0;

  void take(const EventPiece& piece) {
    if (piece.reset) {
      ++resets;
      vms.clear();
      requests.clear();
      hosts.clear();
    }
    ++(piece.snapshot ? snapshots : deltas);
    for (const VmEvent& row : piece.vms) {
      if (row.state == "undefined") {
        vms.erase(row.vm);
      } else {
        vms[row.vm] = row.state;
      }
    }
    for (const RequestView& row : piece.requests) requests[row.request.id] = row.state;
    for (const HostEvent& row : piece.hosts) hosts[row.host] = row.state;
    if (piece.complete) last = piece.id;
  }
  void drain(EventFeed& feed, EventCursor& cursor) {
    while (const auto piece = feed.next(cursor)) take(*piece);
  }
};

class Feed : public ::testing::Test {
 protected:
  Feed() { feed_.restart(7); }
  void fill(int count) {
    EventBatch batch;
    for (int i = 0; i < count; ++i) batch.vms.push_back(vm(i, "stopped"));
    batch.hosts.push_back(host("h1", "ready"));
    batch.requests.push_back(request(1, "active"));
    batch.complete = true;
    feed_.apply(std::move(batch), 10);
  }
  EventFeed feed_{EventFeedLimits{4, 3, 5}};
  Client client_;
};

TEST_F(Feed, ASnapshotWaitsUntilEverythingIsTold) {
  EventCursor cursor = feed_.open({}, std::nullopt);
  EXPECT_EQ(feed_.next(cursor), nullptr);
  feed_.apply(vms({vm(1, "stopped")}), 9);
  EXPECT_EQ(feed_.next(cursor), nullptr);
  fill(2);
  client_.drain(feed_, cursor);
  EXPECT_EQ(client_.vms.size(), 2u);
  EXPECT_EQ(client_.resets, 0);
  EXPECT_EQ(client_.deltas, 0);
  EXPECT_EQ(client_.last->generation, 7u);
  EXPECT_EQ(client_.last->commit, 10u);
}

TEST_F(Feed, AnEmptyEngineHasASnapshotToo) {
  EventBatch batch;
  batch.complete = true;
  feed_.apply(std::move(batch), 1);
  EventCursor cursor = feed_.open({}, std::nullopt);
  const auto piece = feed_.next(cursor);
  ASSERT_NE(piece, nullptr);
  EXPECT_TRUE(piece->snapshot && piece->complete && !piece->reset);
  EXPECT_EQ(feed_.next(cursor), nullptr);
}

TEST_F(Feed, PiecesAreBoundedAndOnlyTheLastHasAnId) {
  fill(10);
  EventCursor cursor = feed_.open({}, std::nullopt);
  int pieces = 0;
  while (const auto piece = feed_.next(cursor)) {
    EXPECT_LE(piece->vms.size() + piece->hosts.size() + piece->requests.size(), 4u);
    client_.take(*piece);
    EXPECT_EQ(piece->complete, ++pieces == 3);
  }
  EXPECT_EQ(client_.vms.size(), 10u);
  EXPECT_EQ(client_.hosts.size(), 1u);
  EXPECT_EQ(client_.requests.size(), 1u);
}

TEST_F(Feed, WhatChangesDuringASnapshotComesAgain) {
  fill(10);
  EventCursor cursor = feed_.open({}, std::nullopt);
  client_.take(*feed_.next(cursor));
  feed_.apply(vms({vm(0, "running"), vm(9, "running")}), 11);
  client_.drain(feed_, cursor);
  EXPECT_EQ(client_.vms.at(vmId(0)), "running");
  EXPECT_EQ(client_.vms.at(vmId(9)), "running");
  EXPECT_EQ(client_.last->commit, 11u);
  EXPECT_EQ(client_.snapshots, 3);
}

TEST_F(Feed, ALateClientSeesTheNewestStateOnce) {
  fill(3);
  EventCursor cursor = feed_.open({}, std::nullopt);
  client_.drain(feed_, cursor);
  for (std::uint64_t commit = 11; commit < 100; ++commit) {
    feed_.apply(vms({vm(1, commit % 2 == 0 ? "staged" : "building")}), commit);
  }
  const auto piece = feed_.next(cursor);
  ASSERT_NE(piece, nullptr);
  EXPECT_EQ(piece->vms.size(), 1u);
  EXPECT_EQ(piece->vms[0].state, "building");
  EXPECT_EQ(piece->id.commit, 99u);
  EXPECT_FALSE(piece->reset);
  EXPECT_EQ(feed_.next(cursor), nullptr);
}

TEST_F(Feed, RowsThatStayAsTheyWereAreNoNews) {
  fill(3);
  EventCursor cursor = feed_.open({}, std::nullopt);
  client_.drain(feed_, cursor);
  feed_.apply(vms({vm(1, "stopped"), vm(77, "undefined")}), 11);
  EXPECT_EQ(feed_.next(cursor), nullptr);
}

TEST_F(Feed, KindsAreChosen) {
  fill(3);
  EventKinds hosts_only{false, false, true};
  EventCursor cursor = feed_.open(hosts_only, std::nullopt);
  client_.drain(feed_, cursor);
  EXPECT_TRUE(client_.vms.empty() && client_.requests.empty());
  EXPECT_EQ(client_.hosts.size(), 1u);
  feed_.apply(vms({vm(1, "running")}), 11);
  EXPECT_EQ(feed_.next(cursor), nullptr);
  EventBatch batch;
  batch.hosts.push_back(host("h1", "disconnected"));
  feed_.apply(std::move(batch), 12);
  client_.drain(feed_, cursor);
  EXPECT_EQ(client_.hosts.at("h1"), "disconnected");
}

TEST_F(Feed, AClientGoesOnWhereItWas) {
  fill(3);
  EventCursor cursor = feed_.open({}, std::nullopt);
  client_.drain(feed_, cursor);
  feed_.apply(vms({vm(1, "queued")}), 11);
  feed_.apply(vms({vm(2, "queued")}), 12);
  EventCursor again = feed_.open({}, client_.last);
  client_.drain(feed_, again);
  EXPECT_EQ(client_.resets, 0);
  EXPECT_EQ(client_.snapshots, 2) << "the pieces of the first one";
  EXPECT_EQ(client_.vms.at(vmId(1)), "queued");
  EXPECT_EQ(client_.vms.at(vmId(2)), "queued");
}

TEST_F(Feed, ChangesWithoutACommitOfTheirOwnAreNotLost) {
  fill(3);
  EventCursor cursor = feed_.open({}, std::nullopt);
  client_.drain(feed_, cursor);
  EventBatch batch;
  batch.hosts.push_back(host("h1", "not_ready"));
  feed_.apply(std::move(batch), 10);
  EventCursor again = feed_.open({}, client_.last);
  client_.drain(feed_, again);
  EXPECT_EQ(client_.hosts.at("h1"), "not_ready");
  EXPECT_EQ(client_.resets, 0);
}

TEST_F(Feed, UnknownIdsBeginWithAReset) {
  fill(3);
  for (const EventId id : {EventId{6, 10}, EventId{7, 9}, EventId{7, 11}, EventId{8, 10}}) {
    Client client;
    EventCursor cursor = feed_.open({}, id);
    client.drain(feed_, cursor);
    EXPECT_EQ(client.resets, 1) << id.generation << "-" << id.commit;
    EXPECT_EQ(client.vms.size(), 3u);
  }
  // Nor does an id go on for ever.
  for (std::uint64_t commit = 11; commit < 20; ++commit) {
    feed_.apply(vms({vm(1, std::to_string(commit))}), commit);
  }
  EventCursor old = feed_.open({}, EventId{7, 10});
  EXPECT_TRUE(feed_.next(old)->reset);
}

TEST_F(Feed, WhatLeavesIsSeenByTheLateUntilThereIsTooMuchOfIt) {
  fill(3);
  EventCursor late = feed_.open({}, std::nullopt);
  client_.drain(feed_, late);
  feed_.apply(vms({vm(0, "undefined")}), 11);
  EventBatch batch;
  batch.requests.push_back(request(1, "succeeded"));
  feed_.apply(std::move(batch), 12);
  EventCursor fresh = feed_.open({}, std::nullopt);
  Client other;
  other.drain(feed_, fresh);
  EXPECT_EQ(other.vms.size(), 2u);
  EXPECT_TRUE(other.requests.empty());
  client_.drain(feed_, late);
  EXPECT_EQ(client_.vms.size(), 2u);
  EXPECT_EQ(client_.requests.at(requestId(1)), "succeeded");
  EXPECT_EQ(client_.resets, 0);
  for (int i = 10; i < 20; ++i) {
    EventBatch more;
    more.requests.push_back(request(i, "failed"));
    feed_.apply(std::move(more), static_cast<std::uint64_t>(i + 10));
  }
  client_.drain(feed_, late);
  EXPECT_EQ(client_.resets, 1);
  EXPECT_EQ(client_.vms.size(), 2u);
}

TEST_F(Feed, AVmThatIsDefinedAgainIsBack) {
  fill(3);
  EventCursor cursor = feed_.open({}, std::nullopt);
  feed_.apply(vms({vm(0, "undefined")}), 11);
  feed_.apply(vms({vm(0, "stopped")}), 12);
  client_.drain(feed_, cursor);
  EXPECT_EQ(client_.vms.size(), 3u);
}

TEST_F(Feed, AnotherGenerationResetsEverybody) {
  fill(3);
  EventCursor done = feed_.open({}, std::nullopt);
  client_.drain(feed_, done);
  EventCursor halfway = feed_.open({}, std::nullopt);
  Client other;
  other.take(*feed_.next(halfway));
  feed_.restart(8);
  EXPECT_EQ(feed_.next(done), nullptr);
  fill(1);
  client_.drain(feed_, done);
  other.drain(feed_, halfway);
  EXPECT_EQ(client_.resets, 1);
  EXPECT_EQ(client_.vms.size(), 1u);
  EXPECT_EQ(client_.last->generation, 8u);
  EXPECT_EQ(other.resets, 1);
  EXPECT_EQ(other.vms.size(), 1u);
}

TEST_F(Feed, ClientsAtOnePlaceShareTheirPieces) {
  fill(3);
  EventCursor first = feed_.open({}, std::nullopt);
  EventCursor second = first;
  client_.drain(feed_, first);
  client_.drain(feed_, second);
  feed_.apply(vms({vm(1, "queued")}), 11);
  EXPECT_EQ(feed_.next(first), feed_.next(second));
}

TEST(Capture, AHostThatChangesBeforeTheIntervalIsOverHasItsTurnAtItsEnd) {
  Rng rng(1);
  EngineState state(EngineOptions{}, rng);
  state.hosts["h1"].record.id = "h1";
  startCapture(state);
  Now now{TimePoint{} + seconds(1), {}};
  EXPECT_EQ(captureEvents(state, now).value().hosts.size(), 1u);
  EXPECT_EQ(nextCapture(state, now), TimePoint::max());

  state.hosts["h1"].record.alarm = "cloned";
  now.mono = now.mono + milliseconds(10);
  EXPECT_FALSE(captureEvents(state, now));
  now.mono = nextCapture(state, now);
  EXPECT_EQ(now.mono, TimePoint{} + milliseconds(1'100));
  EXPECT_EQ(captureEvents(state, now).value().hosts[0].state, "quarantined");
  EXPECT_EQ(nextCapture(state, now), TimePoint::max());
}

}  // namespace
}  // namespace vms::runner
