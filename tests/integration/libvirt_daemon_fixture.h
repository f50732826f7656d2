#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "tests/integration/libvirt_test_support.h"

namespace vms::hostagent {

/// Runs a program to its end; returns its exit status and fills `output` if given.
int runProgram(const std::vector<std::string>& words, std::string* output = nullptr);

/// A private libvirtd with QEMU for one test, in a temporary folder (config/demo/libvirt-host.sh).
/// Needs root; the test is skipped where the programs are missing.
class LibvirtDaemon : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  LibvirtOptions options() const;
  DomainSpec specOf(VmId vm, const std::string& name) const;
  /// Its emulator waits before it starts the guest.
  DomainSpec slowSpecOf(VmId vm, const std::string& name, int seconds_of_delay);

  /// Starts the daemon (again).
  void startDaemon();
  pid_t daemonPid() const;
  /// Returns once the process has gone.
  void killDaemon(int signal);
  /// virsh on this daemon; its output.
  std::string virsh(std::vector<std::string> words) const;
  /// What the guest printed.
  std::string serialOf(const std::string& name) const;
  void setWorkers(int count) const;

  std::string folder_;
  std::string uri_;
};

bool isRunning(pid_t pid);

}  // namespace vms::hostagent
