#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "runner/engine.h"
#include "runner/event_feed.h"
#include "runner/service.h"
#include "runner/store.h"
#include "runner/turn_loop.h"

namespace vms::runner {

/// The client's side of the daemon: each call reads or changes the engine's state at once, and
/// answers with what it saw then as soon as that is durable (S13). Errors tell of the state too.
class EngineService final : public Service {
 public:
  EngineService(asio::any_io_executor executor, Clock& clock, Engine& engine, Store& store,
                TurnLoop& turns);
  ~EngineService() override;

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
  Result<void> readiness() const override;
  EngineFigures figures() const override;
  std::optional<TokenRecord> findToken(const std::string& hash) const override;
  asio::awaitable<Result<void>> putToken(Principal who, TokenRecord token) override;
  asio::awaitable<Result<std::vector<TokenRecord>>> listTokens() override;

  /// Tells watchers what changed.
  void release(Effects& effects);
  /// Ends all watches.
  void stop();

 private:
  struct Watch;
  class RequestWatchImpl;
  struct EventClient;
  class EventWatchImpl;

  /// `answer`, once everything that it can tell of is durable.
  template <class T>
  asio::awaitable<Result<T>> onceDurable(Result<T> answer);
  /// Refuses what would add work while the disk is full.
  Result<void> hasRoom() const;
  Now now() const { return turns_.now(); }
  void releaseEvents(Effects& effects);

  asio::any_io_executor executor_;
  Clock& clock_;
  Engine& engine_;
  Store& store_;
  TurnLoop& turns_;
  std::multimap<RequestId, std::weak_ptr<Watch>> watches_;
  EventFeed feed_;
  std::vector<std::weak_ptr<EventClient>> event_clients_;
  TimePoint watched_at_;  ///< When somebody watched everything, last.
  bool stopping_ = false;
};

}  // namespace vms::runner
