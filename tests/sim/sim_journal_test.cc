#include "tests/sim/sim_journal.h"

#include <gtest/gtest.h>

#include <memory>

#include "schema/base/task_group.h"

namespace vms::sim {
namespace {

using hostagent::JournalChange;

struct Root {
  explicit Root(Process& process) : tasks(process.executor()) {}
  TaskGroup tasks;
};

VmId vmNumber(std::uint8_t n) {
  VmId vm;
  vm.uuid.bytes[15] = n;
  return vm;
}

/// Commits floors 1..count for different VMs at the same time; counts the answers.
struct Writer {
  Writer(World& world, JournalDisk& disk_in, int count_in)
      : process(world.addProcess("agent")), disk(disk_in), count(count_in) {}

  void start() {
    process.start([this](Process& p) {
      auto root = std::make_shared<Root>(p);
      const auto journal = std::make_shared<SimJournal>(disk, p);
      for (int i = 1; i <= count; ++i) {
        root->tasks.spawn("write", [this, journal, i]() -> asio::awaitable<void> {
          std::vector<JournalChange> changes;
          changes.push_back(
              hostagent::PutFloor{{vmNumber(static_cast<std::uint8_t>(i)), Epoch{7}}});
          const auto done = co_await journal->commit(std::move(changes));
          if (done) {
            ++succeeded;
          } else {
            ++refused;
          }
        });
      }
      return root;
    });
  }

  Process& process;
  JournalDisk& disk;
  int count;
  int succeeded = 0;
  int refused = 0;
};

TEST(SimJournal, GroupsWhatWaits) {
  World world(1);
  JournalDisk disk(world, "h1");
  Writer writer(world, disk, 20);
  writer.start();
  world.runFor(seconds(1));
  EXPECT_EQ(writer.succeeded, 20);
  EXPECT_EQ(disk.commits(), 2U);  // the first one alone, then all that came meanwhile
  EXPECT_EQ(disk.floorOf(vmNumber(20)), Epoch{7});
}

TEST(SimJournal, FullDiskChangesNothing) {
  World world(1);
  JournalDisk disk(world, "h1");
  disk.setFull(true);
  Writer writer(world, disk, 3);
  writer.start();
  world.runFor(seconds(1));
  EXPECT_EQ(writer.refused, 3);
  EXPECT_EQ(disk.floorOf(vmNumber(1)), Epoch{});
}

TEST(SimJournal, StallHoldsAnswersBack) {
  World world(1);
  JournalDisk disk(world, "h1");
  disk.setStalled(true);
  Writer writer(world, disk, 3);
  writer.start();
  world.runFor(seconds(5));
  EXPECT_EQ(writer.succeeded, 0);
  disk.setStalled(false);
  world.runFor(seconds(1));
  EXPECT_EQ(writer.succeeded, 3);
}

TEST(SimJournal, CrashAppliesOrLosesTheTransactionUnderWayAndLosesTheRest) {
  bool applied = false;
  bool lost = false;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    World world(seed);
    JournalDisk disk(world, "h1");
    disk.setLatency(seconds(1), seconds(1));
    Writer writer(world, disk, 5);
    writer.start();
    world.runFor(milliseconds(500));
    writer.process.crash();
    world.runFor(seconds(5));
    EXPECT_EQ(writer.succeeded, 0);
    int durable = 0;
    for (std::uint8_t i = 1; i <= 5; ++i) durable += disk.floorOf(vmNumber(i)) == Epoch{7} ? 1 : 0;
    EXPECT_LE(durable, 1);
    (durable == 1 ? applied : lost) = true;
  }
  EXPECT_TRUE(applied);
  EXPECT_TRUE(lost);
}

}  // namespace
}  // namespace vms::sim
