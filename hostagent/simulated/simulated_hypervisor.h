#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "hostagent/hypervisor.h"
#include "schema/base/clock.h"
#include "schema/base/rng.h"
#include "schema/base/task_group.h"

namespace vms::hostagent {

/// How long a simulated build takes.
struct BuildTime {
  enum class Kind {
    Constant,   ///< Always `median`.
    Uniform,    ///< Between `min` and `max`.
    Lognormal,  ///< With `median` and `sigma`, cut at `min` and `max`.
  };
  Kind kind = Kind::Lognormal;
  Duration median = milliseconds(500);
  double sigma = 0.3;
  Duration min{};
  Duration max = seconds(60);

  Duration draw(Rng& rng) const;
};

struct SimulatedOptions {
  std::string uri = "simulated:///";
  /// Domains end with this object, so whoever gives the same UUID to the next one says: what the
  /// list lacks is gone.
  std::string host_uuid;
  BuildTime build;
  double failure = 0;  ///< Probability that a create is rejected after its build time.
  Duration query = milliseconds(1);
  Duration resume = milliseconds(5);
  Duration shutdown = seconds(1);  ///< From the request to the guest's end.
  Duration destroy = milliseconds(200);
};

/// A hypervisor without domains behind it: a table in memory, for load tests and demonstrations.
///
/// Uses the clock and the rng only, on the agent's executor. A build goes on when its caller is
/// gone, as with a real one. `clock` and `rng` outlive it.
class SimulatedHypervisor final : public Hypervisor {
 public:
  SimulatedHypervisor(asio::any_io_executor owner, Clock& clock, Rng& rng,
                      SimulatedOptions options);

  void start(std::function<void(HypervisorEvent)> on_event) override;
  asio::awaitable<void> stop() override;
  bool connected() const override { return started_; }
  Duration lastAnswerAge() const override { return Duration{}; }
  std::string notReadyReason() const override;
  asio::awaitable<Result<HypervisorIdentity>> identity() override;
  asio::awaitable<Result<std::vector<DomainInfo>>> list() override;
  asio::awaitable<Result<std::optional<DomainInfo>>> lookUp(VmId vm) override;
  asio::awaitable<Result<DomainInfo>> createPaused(DomainSpec spec, Claim claim) override;
  bool mayHoldLostCall(AttemptRef ref) const override;
  void noteLostCall(AttemptRef ref) override;
  asio::awaitable<Result<void>> resume(AttemptRef ref) override;
  asio::awaitable<Result<void>> shutDown(AttemptRef ref) override;
  asio::awaitable<Result<void>> destroy(AttemptRef ref) override;
  asio::awaitable<StopReason> whyEnded(VmId vm, std::string name) override;

 private:
  struct Entry {
    DomainInfo info;
    TimePoint ready{};               ///< End of the build.
    bool fails = false;              ///< It ends with a rejection.
    std::optional<TimePoint> stops;  ///< The guest was asked to power off.
  };

  /// Lets happen what is due for one VM.
  void settle(VmId vm);
  asio::awaitable<void> powerOff(TimePoint when, VmId vm);
  void end(VmId vm, StopReason reason);
  void tell(HypervisorEvent::Kind kind, VmId vm, StopReason reason = StopReason::Shutdown);
  Result<Entry*> owned(const AttemptRef& ref);
  Error away() const;

  Clock& clock_;
  Rng& rng_;
  const SimulatedOptions options_;
  std::function<void(HypervisorEvent)> on_event_;
  bool started_ = false;
  std::map<VmId, Entry> domains_;
  TaskGroup guests_;  ///< Those that were asked to power off.
};

}  // namespace vms::hostagent
