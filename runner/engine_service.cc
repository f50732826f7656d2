#include "runner/engine_service.h"

#include <algorithm>
#include <utility>

#include "runner/dry_run.h"
#include "runner/engine_figures.h"
#include "runner/event_capture.h"
#include "runner/forgotten_hosts.h"
#include "runner/history_names.h"
#include "runner/intake.h"
#include "runner/reads.h"
#include "runner/views.h"
#include "runner/vm_registry.h"
#include "schema/base/counted.h"
#include "schema/base/log.h"

namespace vms::runner {
namespace {

constexpr Duration kWatchInterval = milliseconds(100);
constexpr std::size_t kMaxWatches = 10'000;
constexpr std::size_t kMaxEventClients = 128;
/// The feed is kept for clients that come back.
constexpr Duration kKeepFeed = seconds(60);

}  // namespace

/// Shared by a watcher and the service: which of them goes first does not matter.
struct EngineService::Watch {
  explicit Watch(const asio::any_io_executor& executor) : wake(executor) {}
  Wake wake;
  bool dirty = true;
  bool over = false;
};

class EngineService::RequestWatchImpl final : public RequestWatch {
 public:
  RequestWatchImpl(EngineService& service, RequestId id, std::shared_ptr<Watch> watch)
      : service_(service), id_(id), watch_(std::move(watch)) {}

  asio::awaitable<Result<RequestEvent>> next() override {
    const std::shared_ptr<Watch> watch = watch_;
    if (finished_ || watch->over) {
      Error over(ErrorClass::Unavailable, "the watch is over");
      co_return over;
    }
    if (sent_) co_await service_.clock_.sleepUntil(*sent_ + kWatchInterval);
    while (!watch->dirty && !watch->over) co_await watch->wake.wait();
    if (watch->over) {
      Error over(ErrorClass::Unavailable, "the engine is stopping");
      co_return over;
    }
    watch->dirty = false;
    const EngineState& state = service_.engine_.state();
    Result<RequestView> seen = runner::showRequest(state, id_, service_.now());
    seen = co_await service_.onceDurable(std::move(seen));
    if (!seen) co_return seen.error();
    RequestEvent event;
    event.view = std::move(*seen);
    event.generation = state.marks.term.value;
    event.commit = state.marks.commit;
    finished_ = event.view.state != "active";
    sent_ = service_.clock_.now();
    co_return event;
  }

 private:
  EngineService& service_;
  RequestId id_;
  std::shared_ptr<Watch> watch_;
  std::optional<TimePoint> sent_;
  bool finished_ = false;
};

/// Shared by a watcher of everything and the service, as Watch.
struct EngineService::EventClient {
  EventCursor cursor;
  std::function<void()> on_change;
  bool over = false;
};

class EngineService::EventWatchImpl final : public EventWatch {
 public:
  EventWatchImpl(EventFeed& feed, std::shared_ptr<EventClient> client)
      : feed_(feed), client_(std::move(client)) {}

  Result<std::shared_ptr<const EventPiece>> poll() override {
    if (client_->over) return Error{ErrorClass::Unavailable, "the engine is stopping"};
    return feed_.next(client_->cursor);
  }

 private:
  EventFeed& feed_;
  std::shared_ptr<EventClient> client_;
};

EngineService::EngineService(asio::any_io_executor executor, Clock& clock, Engine& engine,
                             Store& store, TurnLoop& turns)
    : executor_(std::move(executor)),
      clock_(clock),
      engine_(engine),
      store_(store),
      turns_(turns) {}

EngineService::~EngineService() { stop(); }

template <class T>
asio::awaitable<Result<T>> EngineService::onceDurable(Result<T> answer) {
  const Result<void> durable = co_await turns_.durable();
  if (!durable) co_return durable.error();
  co_return answer;
}

Result<void> EngineService::hasRoom() const {
  if (stopping_) return Error{ErrorClass::Unavailable, "the engine is stopping; try again shortly"};
  if (!turns_.storeFull() && store_.hasRoom()) return {};
  return Error{ErrorClass::StoreFull,
               "the disk of the engine's database is full and nothing new is accepted; free some "
               "space in its state directory, then try again"};
}

asio::awaitable<Result<std::vector<VmView>>> EngineService::defineVms(Principal who,
                                                                      DefineVms what) {
  using Views = std::vector<VmView>;
  if (const Result<void> room = hasRoom(); !room) return onceDurable<Views>(room.error());
  const EngineState& state = engine_.state();
  const Result<std::vector<VmId>> ids = runner::defineVms(engine_.state(), what, now());
  if (!ids) return onceDurable<Views>(ids.error());
  log::info("{} defined {}", who.name, counted(ids->size(), "VM"));
  Views views;
  for (const VmId& id : *ids) views.push_back(viewOf(state, state.vms.at(id)));
  return onceDurable<Views>(std::move(views));
}

asio::awaitable<Result<VmPage>> EngineService::listVms(std::map<std::string, std::string> selector,
                                                       std::size_t limit, std::string cursor) {
  return onceDurable(runner::listVms(engine_.state(), selector, limit, cursor));
}

asio::awaitable<Result<VmView>> EngineService::showVm(std::string name_or_id) {
  return onceDurable(runner::showVm(engine_.state(), name_or_id));
}

asio::awaitable<Result<VmView>> EngineService::setVm(Principal who, std::string name_or_id,
                                                     VmSettings settings) {
  if (const Result<void> room = hasRoom(); !room) return onceDurable<VmView>(room.error());
  const Result<VmId> id = runner::setVm(engine_.state(), name_or_id, settings, now());
  if (!id) return onceDurable<VmView>(id.error());
  log::info("{} changed VM '{}'", who.name, name_or_id);
  return onceDurable(runner::showVm(engine_.state(), name_or_id));
}

asio::awaitable<Result<void>> EngineService::undefineVm(Principal who, std::string name_or_id) {
  Result<void> gone = runner::undefineVm(engine_.state(), name_or_id, now());
  if (gone) log::info("{} undefined VM '{}'", who.name, name_or_id);
  return onceDurable(std::move(gone));
}

asio::awaitable<Result<RequestView>> EngineService::createRequest(Principal who,
                                                                  StartRequest what) {
  const Result<void> room = hasRoom();
  const Result<RequestId> id =
      room ? runner::createRequest(engine_.state(), who, what, now()) : room.error();
  if (!id) {
    ++engine_.state().counters.requests_refused[id.error().error_class];
    return onceDurable<RequestView>(id.error());
  }
  return showRequest(*id);
}

asio::awaitable<Result<std::vector<DryRunItem>>> EngineService::dryRun(StartRequest what) {
  return onceDurable(runner::dryRun(engine_.state(), what, engine_.mayStart(), now()));
}

asio::awaitable<Result<RequestView>> EngineService::showRequest(RequestId id) {
  return onceDurable(runner::showRequest(engine_.state(), id, now()));
}

asio::awaitable<Result<RequestPage>> EngineService::listRequests(std::size_t limit,
                                                                 std::string cursor) {
  return onceDurable(runner::listRequests(engine_.state(), limit, cursor, now()));
}

asio::awaitable<Result<RequestView>> EngineService::cancelRequest(Principal who, RequestId id) {
  const Result<void> cancelled = runner::cancelRequest(engine_.state(), id, now());
  if (!cancelled) return onceDurable<RequestView>(cancelled.error());
  log::info("{} cancelled request {}", who.name, id.str());
  return showRequest(id);
}

asio::awaitable<Result<std::unique_ptr<RequestWatch>>> EngineService::watchRequest(RequestId id) {
  const Result<RequestView> known = runner::showRequest(engine_.state(), id, now());
  if (!known) co_return known.error();
  std::erase_if(watches_, [](const auto& entry) { return entry.second.expired(); });
  if (stopping_) {
    Error stopping(ErrorClass::Unavailable, "the engine is stopping; try again shortly");
    co_return stopping;
  }
  if (watches_.size() >= kMaxWatches) {
    Error busy(ErrorClass::RateLimited, "too many requests are being watched; try again later");
    co_return busy;
  }
  auto watch = std::make_shared<Watch>(executor_);
  watches_.emplace(id, watch);
  std::unique_ptr<RequestWatch> result =
      std::make_unique<RequestWatchImpl>(*this, id, std::move(watch));
  co_return std::move(result);
}

Result<std::unique_ptr<EventWatch>> EngineService::watchEvents(EventKinds kinds,
                                                               std::optional<EventId> last,
                                                               std::function<void()> on_change) {
  if (stopping_) return Error{ErrorClass::Unavailable, "the engine is stopping; try again shortly"};
  std::erase_if(event_clients_, [](const auto& client) { return client.expired(); });
  if (event_clients_.size() >= kMaxEventClients) {
    return Error{ErrorClass::Unavailable,
                 std::to_string(event_clients_.size()) +
                     " clients watch all events, which is the most that this engine serves; close "
                     "one, or try again later"};
  }
  EngineState& state = engine_.state();
  if (!state.unseen) {
    feed_.restart(state.marks.term.value);
    startCapture(state);
    turns_.kick();
  }
  watched_at_ = clock_.now();
  auto client = std::make_shared<EventClient>();
  client->cursor = feed_.open(kinds, last);
  client->on_change = std::move(on_change);
  event_clients_.push_back(client);
  std::unique_ptr<EventWatch> watch = std::make_unique<EventWatchImpl>(feed_, std::move(client));
  return watch;
}

asio::awaitable<Result<std::vector<StopItem>>> EngineService::stopVms(Principal who, StopVms what) {
  Result<std::vector<StopItem>> items = runner::stopVms(engine_.state(), who, what, now());
  if (items) log::info("{} stopped {}", who.name, counted(items->size(), "VM"));
  return onceDurable(std::move(items));
}

asio::awaitable<Result<std::vector<HostView>>> EngineService::listHosts() {
  return onceDurable(runner::listHosts(engine_.state(), now()));
}

asio::awaitable<Result<HostView>> EngineService::showHost(HostId id) {
  return onceDurable(runner::showHost(engine_.state(), id, now()));
}

asio::awaitable<Result<std::vector<StagingItem>>> EngineService::staging(HostId id) {
  return onceDurable(runner::staging(engine_.state(), id));
}

asio::awaitable<Result<HostView>> EngineService::setDraining(Principal who, HostId id, bool on) {
  const Result<void> set = engine_.setDraining(id, on, now());
  if (!set) return onceDurable<HostView>(set.error());
  log::info("{} set host {} {}", who.name, id, on ? "draining" : "active");
  return showHost(id);
}

asio::awaitable<Result<HostView>> EngineService::confirmHost(Principal who, HostId id) {
  const Result<void> confirmed = engine_.confirmHost(id, now());
  if (!confirmed) return onceDurable<HostView>(confirmed.error());
  log::warn("{} confirmed host {}", who.name, id);
  return showHost(id);
}

asio::awaitable<Result<HostView>> EngineService::forgetHost(Principal who, HostId id, bool fenced) {
  const Result<void> forgotten = runner::forgetHost(engine_.state(), id, who.name, fenced, now());
  if (!forgotten) return onceDurable<HostView>(forgotten.error());
  log::warn("{} said that host {} is off for good; it is forgotten", who.name, id);
  return showHost(id);
}

asio::awaitable<Result<HistoryPage>> EngineService::history(HistoryQuery query) {
  Result<HistoryPage> page = co_await store_.history(query);
  if (page && page->attempts.empty() && query.cursor.empty()) {
    const auto exist = co_await checkNamesExist(&engine_.state(), &store_, std::move(query));
    if (!exist) co_return co_await onceDurable<HistoryPage>(exist.error());
  }
  co_return page;
}

asio::awaitable<Result<HistoryStats>> EngineService::historyStats(HistoryQuery query) {
  Result<HistoryStats> stats = co_await store_.historyStats(query);
  if (stats && stats->count == 0) {
    const auto exist = co_await checkNamesExist(&engine_.state(), &store_, std::move(query));
    if (!exist) co_return co_await onceDurable<HistoryStats>(exist.error());
  }
  co_return stats;
}

Result<void> EngineService::readiness() const {
  if (const Result<void> room = hasRoom(); !room) return room.error();
  return engine_.mayStart();
}

EngineFigures EngineService::figures() const {
  EngineFigures figures = figuresOf(engine_.state(), now());
  figures.may_start = engine_.mayStart().has_value();
  return figures;
}

std::optional<TokenRecord> EngineService::findToken(const std::string& hash) const {
  const auto& tokens = engine_.state().tokens;
  const auto found = tokens.find(hash);
  if (found == tokens.end()) return std::nullopt;
  return found->second;
}

asio::awaitable<Result<void>> EngineService::putToken(Principal who, TokenRecord token) {
  const std::string id = token.id;
  EngineState& state = engine_.state();
  std::erase_if(state.tokens, [&](const auto& entry) { return entry.second.id == id; });
  const std::string hash = token.hash;
  state.tokens.emplace(hash, std::move(token));
  state.touchToken(id);
  log::info("{} changed token {}", who.name, id);
  return onceDurable(Result<void>());
}

asio::awaitable<Result<std::vector<TokenRecord>>> EngineService::listTokens() {
  return onceDurable(runner::listTokens(engine_.state()));
}

void EngineService::release(Effects& effects) {
  for (const RequestId& id : effects.touched) {
    const auto [first, last] = watches_.equal_range(id);
    for (auto at = first; at != last; ++at) {
      if (const auto watch = at->second.lock()) {
        watch->dirty = true;
        watch->wake.notify();
      }
    }
  }
  if (engine_.state().unseen) releaseEvents(effects);
}

void EngineService::releaseEvents(Effects& effects) {
  EngineState& state = engine_.state();
  std::erase_if(event_clients_, [](const auto& client) { return client.expired(); });
  const TimePoint now = clock_.now();
  if (!event_clients_.empty()) watched_at_ = now;
  if (now - watched_at_ > kKeepFeed) {
    feed_.restart(0);
    state.unseen.reset();
    return;
  }
  const std::uint64_t term = state.marks.term.value;
  if (feed_.generation() != term) {
    // What was told under the old term has ids that mean nothing now.
    feed_.restart(term);
    startCapture(state);
    return;
  }
  // What a turn captured for those who watched before is part of what is told anew: its commit may
  // have waited for room on the disk while they left and others came.
  if (!effects.events || effects.events->capture != state.unseen->capture) return;
  feed_.apply(std::move(*effects.events), state.marks.commit.value);
  for (const auto& weak : event_clients_) {
    if (const auto client = weak.lock()) client->on_change();
  }
}

void EngineService::stop() {
  stopping_ = true;
  for (const auto& [id, weak] : watches_) {
    if (const auto watch = weak.lock()) {
      watch->over = true;
      watch->wake.notify();
    }
  }
  for (const auto& weak : event_clients_) {
    if (const auto client = weak.lock()) {
      client->over = true;
      client->on_change();
    }
  }
}

}  // namespace vms::runner
