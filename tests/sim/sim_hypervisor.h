#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "hostagent/hypervisor.h"
#include "tests/sim/sim_host.h"
#include "tests/sim/sim_signal.h"

namespace vms::sim {

/// An agent incarnation's connection to its host's hypervisor daemon.
class SimHypervisor final : public hostagent::Hypervisor {
 public:
  SimHypervisor(SimHost& host, Process& process);
  ~SimHypervisor() override;

  void start(std::function<void(hostagent::HypervisorEvent)> on_event) override;
  asio::awaitable<void> stop() override;
  bool connected() const override;
  Duration lastAnswerAge() const override;
  std::string notReadyReason() const override;
  asio::awaitable<Result<hostagent::HypervisorIdentity>> identity() override;
  asio::awaitable<Result<std::vector<hostagent::DomainInfo>>> list() override;
  asio::awaitable<Result<std::optional<hostagent::DomainInfo>>> lookUp(VmId vm) override;
  asio::awaitable<Result<hostagent::DomainInfo>> createPaused(hostagent::DomainSpec spec,
                                                              Claim claim) override;
  bool mayHoldLostCall(AttemptRef ref) const override;
  void noteLostCall(AttemptRef ref) override;
  asio::awaitable<Result<void>> resume(AttemptRef ref) override;
  asio::awaitable<Result<void>> shutDown(AttemptRef ref) override;
  asio::awaitable<Result<void>> destroy(AttemptRef ref) override;
  asio::awaitable<hostagent::StopReason> whyEnded(VmId vm, std::string name) override;

 private:
  struct Lost {
    std::uint64_t daemon = 0;
    TimePoint at{};
  };
  /// Lives as long as the adapter; effects of the world hold it weakly.
  struct Wire {
    struct Pending {
      std::weak_ptr<void> answer;
      std::function<void()> lose;
    };
    std::vector<Pending> pending;  ///< In the order of the calls; answered ones go by and by.
  };

  bool mine() const;
  void heard(hostagent::HypervisorEvent event);
  void connectLater();
  void losePending();
  void deliver(hostagent::HypervisorEvent event);
  template <class T>
  asio::awaitable<Result<T>> call(std::string doing, ErrorClass when_lost,
                                  std::function<void(SimHost::Reply<T>)> submit);

  SimHost& host_;
  Process& process_;
  const std::uint64_t incarnation_;
  std::function<void(hostagent::HypervisorEvent)> on_event_;
  std::shared_ptr<Wire> wire_ = std::make_shared<Wire>();
  std::map<AttemptId, Lost> lost_;
  TimePoint last_answer_{};  ///< World time.
  bool started_ = false;
  bool connected_ = false;
};

}  // namespace vms::sim
