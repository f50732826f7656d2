#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "schema/base/error.h"
#include "schema/base/time.h"
#include "tests/bench/child_process.h"

namespace vms::bench {

struct EngineSettings {
  std::string window = "adaptive";  ///< As in the configuration.
  Duration commit_delay{};
};

/// `vmsrunnerd` as it is shipped, in a process of its own, with a certificate authority, a database
/// on disk and free ports.
class EngineUnderTest {
 public:
  /// Lays everything out in `folder` and waits until the engine listens.
  static Result<EngineUnderTest> start(const std::filesystem::path& folder,
                                       const EngineSettings& settings);

  const std::filesystem::path& pki() const { return pki_; }
  const std::string& apiAddress() const { return api_address_; }
  const std::string& agentAddress() const { return agent_address_; }
  const std::string& token() const { return token_; }
  ChildProcess& process() { return process_; }
  /// Why something failed: that the engine has ended, with its last words, or else `seen`.
  Error reasonFor(Error seen);

  struct Counters {
    std::uint64_t commits = 0;  ///< Durable transactions of its database, ever.
    std::uint64_t syncs = 0;    ///< fsync and fdatasync that it called.
    ProcessUsage usage;
  };
  Result<Counters> counters() const;

 private:
  EngineUnderTest(std::filesystem::path folder, ChildProcess process)
      : folder_(std::move(folder)), process_(std::move(process)) {}

  std::filesystem::path folder_;
  std::filesystem::path pki_;
  std::string api_address_, agent_address_, token_;
  ChildProcess process_;
};

}  // namespace vms::bench
