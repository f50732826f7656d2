#include "tests/sim/mutation.h"

#include "schema/proto/agent.pb.h"

namespace vms::sim {

namespace {

/// Rewrites the frames of one direction; `change` returns whether it did anything.
void mangle(SimCluster& cluster, Direction only, bool (*change)(proto::Frame&)) {
  cluster.network().setMangler([only, change](Direction direction, std::string& bytes) {
    proto::Frame frame;
    if (direction != only || !frame.ParseFromString(bytes) || !change(frame)) return;
    bytes = frame.SerializeAsString();
  });
}

void journalWithoutSync(SimCluster& cluster) {
  for (const auto& node : cluster.nodes()) node->journal.setAnswersEarly(true);
}

void storeWithoutSync(SimCluster& cluster) { cluster.store().setLosesCommits(true); }

void forgetLostCalls(SimCluster& cluster) {
  for (const auto& node : cluster.nodes()) node->host.setForgetsLostCalls(true);
}

/// The agent takes "I do not know" for "it is not here".
void absenceInferred(SimCluster& cluster) {
  mangle(cluster, Direction::ToEngine, [](proto::Frame& frame) {
    if (!frame.has_command_answer()) return false;
    if (frame.command_answer().verdict() != proto::CommandAnswer::INDETERMINATE) return false;
    frame.mutable_command_answer()->set_verdict(proto::CommandAnswer::ABSENT);
    return true;
  });
}

/// The agent refuses what it has accepted.
void acceptedButRefused(SimCluster& cluster) {
  mangle(cluster, Direction::ToEngine, [](proto::Frame& frame) {
    if (!frame.has_bulk_accepted() || frame.bulk_accepted().items_size() == 0) return false;
    proto::BulkAccepted::Item& item = *frame.mutable_bulk_accepted()->mutable_items(0);
    if (!item.error_class().empty()) return false;
    item.set_error_class("host_rejected");
    item.set_error("mutation");
    return true;
  });
}

/// The agent publishes what it is still building.
void startedTooEarly(SimCluster& cluster) {
  mangle(cluster, Direction::ToEngine, [](proto::Frame& frame) {
    if (!frame.has_progress()) return false;
    const proto::Progress progress = frame.progress();
    frame.mutable_outcome()->set_kind(proto::Outcome::STARTED);
    *frame.mutable_outcome()->mutable_ref() = progress.ref();
    return true;
  });
}

/// The engine acknowledges with the wrong kind, so an end may be forgotten before it is stored.
void acknowledgedTooMuch(SimCluster& cluster) {
  mangle(cluster, Direction::ToAgent, [](proto::Frame& frame) {
    if (!frame.has_acknowledge() || frame.acknowledge().items_size() == 0) return false;
    proto::Acknowledge::Item& item = *frame.mutable_acknowledge()->mutable_items(0);
    if (item.kind() != proto::Outcome::STARTED) return false;
    item.set_kind(proto::Outcome::ENDED);
    return true;
  });
}

}  // namespace

const std::vector<Mutation>& mutations() {
  static const std::vector<Mutation> all = {
      {"journal-without-sync", "the agent's journal answers before it is durable",
       journalWithoutSync},
      {"store-without-sync", "the engine's database loses commits at a crash", storeWithoutSync},
      {"forget-lost-calls", "a lost create is taken for one that never happened (S2)",
       forgetLostCalls},
      {"absence-inferred", "not knowing is reported as absence (S1)", absenceInferred},
      {"accepted-but-refused", "an accepted create is reported as refused", acceptedButRefused},
      {"started-too-early", "progress is reported as success", startedTooEarly},
      {"acknowledged-too-much", "a start is acknowledged as an end", acknowledgedTooMuch},
  };
  return all;
}

const Mutation* findMutation(const std::string& name) {
  for (const Mutation& mutation : mutations()) {
    if (mutation.name == name) return &mutation;
  }
  return nullptr;
}

}  // namespace vms::sim
