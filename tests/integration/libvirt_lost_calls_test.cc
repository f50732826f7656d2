// What an agent that was killed left queued in libvirtd takes effect later (S2).
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "tests/integration/libvirt_daemon_fixture.h"

namespace vms::hostagent {
namespace {

constexpr int kCreates = 6;
constexpr const char* kUriVariable = "VMS_TEST_LIBVIRT_URI";
constexpr const char* kPlanVariable = "VMS_TEST_LIBVIRT_PLAN";

struct Planned {
  Claim claim;
  DomainSpec spec;
};

void writePlan(const std::string& path, const std::vector<Planned>& plan) {
  std::ofstream file(path);
  for (const Planned& one : plan) {
    file << one.claim.ref.vm.str() << ' ' << one.claim.ref.attempt.str() << ' ' << one.spec.name
         << ' ' << one.spec.xml << '\n';
  }
}

std::vector<Planned> readPlan(const std::string& path) {
  std::vector<Planned> plan;
  std::ifstream file(path);
  std::string vm;
  std::string attempt;
  Planned one;
  while (file >> vm >> attempt >> one.spec.name && std::getline(file >> std::ws, one.spec.xml)) {
    one.spec.vm = VmId{*Uuid::parse(vm)};
    one.claim = newClaim(one.spec.vm);
    one.claim.ref.attempt = AttemptId{*Uuid::parse(attempt)};
    plan.push_back(one);
  }
  return plan;
}

/// Not a test: the agent that the test below kills.
TEST(LibvirtAgentProcess, DISABLED_SendsCreatesUntilItIsKilled) {
  LibvirtOptions options;
  options.uri = std::getenv(kUriVariable);
  LibvirtHarness host(options);
  host.connect();
  const std::vector<Planned> plan = readPlan(std::getenv(kPlanVariable));
  for (const Planned& one : plan) host.begin(host->createPaused(one.spec, one.claim));
  host.runUntil([] { return false; });
}

class LibvirtLostCalls : public LibvirtDaemon {
 protected:
  pid_t startAgentProcess(const std::string& plan) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv(kUriVariable, uri_.c_str(), 1);
      ::setenv(kPlanVariable, plan.c_str(), 1);
      ::execl("/proc/self/exe", "agent", "--gtest_also_run_disabled_tests",
              "--gtest_filter=LibvirtAgentProcess.*", nullptr);
      ::_exit(127);
    }
    return child;
  }
};

TEST_F(LibvirtLostCalls, TheQueueOfAKilledAgentIsSettledByBarrierAndAbsence) {
  setWorkers(2);
  std::vector<Planned> plan;
  for (int i = 0; i < kCreates; ++i) {
    Planned one;
    one.claim = newClaim(newVm());
    one.spec = slowSpecOf(one.claim.ref.vm, "late-" + std::to_string(i), 1);
    plan.push_back(one);
  }
  // One that was claimed but never sent: it must become known not to come.
  Planned never;
  never.claim = newClaim(newVm());
  writePlan(folder_ + "/plan", plan);

  LibvirtHarness host(options());
  host.connect();
  const pid_t agent = startAgentProcess(folder_ + "/plan");
  // virsh asks for names only, which does not wait behind the creates.
  const auto listed = [this] {
    const std::string names = virsh({"list", "--uuid"});
    return static_cast<std::size_t>(std::count(names.begin(), names.end(), '-')) / 4;
  };
  ASSERT_TRUE(host.runUntil([&] { return listed() > 0; }));
  ASSERT_EQ(::kill(agent, SIGKILL), 0);
  ASSERT_EQ(::waitpid(agent, nullptr, 0), agent);
  const std::size_t at_kill = listed();

  plan.push_back(never);
  for (const Planned& one : plan) host->noteLostCall(one.claim.ref);
  for (const Planned& one : plan) EXPECT_TRUE(host->mayHoldLostCall(one.claim.ref));

  // Absence counts only once the call is known to be spent; a domain that shows up is destroyed,
  // as the agent does with a spent claim.
  std::size_t destroyed = 0;
  for (const Planned& one : plan) {
    ASSERT_TRUE(host.runUntil([&] {
      const bool may_come = host->mayHoldLostCall(one.claim.ref);
      const auto found = host.await(host->lookUp(one.claim.ref.vm));
      if (!found || !*found) return found && !may_come;
      EXPECT_NE((*found)->state, DomainState::Running) << "a late domain executes nothing";
      EXPECT_EQ((*found)->claim->ref, one.claim.ref);
      if ((*found)->state == DomainState::Paused &&
          host.await(host->destroy(one.claim.ref)).has_value()) {
        ++destroyed;
      }
      return false;
    }));
  }
  EXPECT_GT(destroyed, at_kill) << "the daemon went on with what was queued";
  EXPECT_EQ(listed(), 0u);
}

}  // namespace
}  // namespace vms::hostagent
