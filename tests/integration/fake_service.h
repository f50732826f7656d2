#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runner/event_feed.h"
#include "runner/service.h"

namespace vms::runner {

/// An engine in memory, for tests of its clients: it accepts, remembers and shows, and requests go
/// on only as a test says. All on one executor, as the real one.
class FakeService final : public Service {
 public:
  explicit FakeService(asio::any_io_executor executor);
  ~FakeService() override;

  /// Every next call fails so, until it is cleared.
  std::optional<Error> fail;
  /// As `fail`, of watching everything alone.
  std::optional<Error> refuse_watching;
  /// After so many pages of history the next one fails.
  std::optional<int> fail_history_after;
  /// Requests are finished, all their VMs running, when they are made.
  bool finish_at_once = false;
  std::map<std::string, VmView> vms;  ///< By name.
  std::map<HostId, HostView> hosts;
  std::map<std::string, TokenRecord> tokens;  ///< By hash.
  std::vector<AttemptRecord> attempts;        ///< Newest first.
  Result<void> ready;
  std::uint64_t generation = 1;

  // What was asked last.
  std::optional<DefineVms> defined;
  std::optional<VmSettings> settings;
  std::optional<StartRequest> started;
  std::optional<StopVms> stopped;
  std::optional<HistoryQuery> asked;
  std::optional<Principal> principal;
  std::shared_ptr<std::size_t> watching = std::make_shared<std::size_t>(0);

  void addVm(const std::string& name);
  void addHost(const HostId& host);
  std::vector<RequestId> requestIds() const;
  /// Changes a request and wakes those who watch it.
  void change(RequestId id, const std::function<void(RequestView&)>& how);
  void forget(RequestId id);
  /// What has become durable, for those who watch everything; commits count by themselves.
  void tell(EventBatch batch);

  asio::awaitable<Result<std::vector<VmView>>> defineVms(Principal who, DefineVms what) override;
  asio::awaitable<Result<VmPage>> listVms(std::map<std::string, std::string> selector,
                                          std::size_t limit, std::string cursor) override;
  asio::awaitable<Result<VmView>> showVm(std::string name_or_id) override;
  asio::awaitable<Result<VmView>> setVm(Principal who, std::string name_or_id,
                                        VmSettings settings) override;
  asio::awaitable<Result<void>> undefineVm(Principal who, std::string name_or_id) override;
  asio::awaitable<Result<RequestView>> createRequest(Principal who, StartRequest what) override;
  asio::awaitable<Result<std::vector<DryRunItem>>> dryRun(StartRequest what) override;
  asio::awaitable<Result<RequestView>> showRequest(RequestId id) override;
  asio::awaitable<Result<RequestPage>> listRequests(std::size_t limit, std::string cursor) override;
  asio::awaitable<Result<RequestView>> cancelRequest(Principal who, RequestId id) override;
  asio::awaitable<Result<std::unique_ptr<RequestWatch>>> watchRequest(RequestId id) override;
  Result<std::unique_ptr<EventWatch>> watchEvents(EventKinds kinds, std::optional<EventId> last,
                                                  std::function<void()> on_change) override;
  asio::awaitable<Result<std::vector<StopItem>>> stopVms(Principal who, StopVms what) override;
  asio::awaitable<Result<std::vector<HostView>>> listHosts() override;
  asio::awaitable<Result<HostView>> showHost(HostId host) override;
  asio::awaitable<Result<std::vector<StagingItem>>> staging(HostId host) override;
  asio::awaitable<Result<HostView>> setDraining(Principal who, HostId host, bool on) override;
  asio::awaitable<Result<HostView>> confirmHost(Principal who, HostId host) override;
  asio::awaitable<Result<HostView>> forgetHost(Principal who, HostId host, bool fenced) override;
  asio::awaitable<Result<HistoryPage>> history(HistoryQuery query) override;
  asio::awaitable<Result<HistoryStats>> historyStats(HistoryQuery query) override;
  Result<void> readiness() const override { return ready; }
  EngineFigures figures() const override { return {}; }
  std::optional<TokenRecord> findToken(const std::string& hash) const override;
  asio::awaitable<Result<void>> putToken(Principal who, TokenRecord token) override;
  asio::awaitable<Result<std::vector<TokenRecord>>> listTokens() override;

 private:
  struct Known;
  class Watch;
  class EventWatchImpl;

  Result<std::vector<std::string>> namesOf(const VmSelection& which) const;
  Result<HostView*> findHost(const HostId& host);
  Result<VmView*> findVm(const std::string& name_or_id);

  asio::any_io_executor executor_;
  std::map<RequestId, std::shared_ptr<Known>> requests_;
  EventFeed feed_;
  std::map<const EventWatch*, std::function<void()>> event_clients_;
  std::uint64_t commit_ = 0;
  std::uint8_t next_id_ = 1;
};

}  // namespace vms::runner
