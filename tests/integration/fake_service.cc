#include "tests/integration/fake_service.h"

#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <list>
#include <utility>

#include "schema/vm_spec.h"

namespace vms::runner {
namespace {

Error unknown(const std::string& what) {
  return Error(ErrorClass::NotFound, what + " is not known; list what there is");
}

}  // namespace

struct FakeService::Known {
  explicit Known(const asio::any_io_executor& executor)
      : changed(executor, asio::steady_timer::time_point::max()) {}
  RequestView view;
  std::string body_hash;
  bool forgotten = false;
  std::uint64_t generation = 1;
  CommitNumber commit;
  asio::steady_timer changed;  ///< Cancelled at every change.
};

class FakeService::Watch final : public RequestWatch {
 public:
  Watch(std::shared_ptr<std::size_t> watching, std::shared_ptr<Known> known)
      : watching_(std::move(watching)), known_(std::move(known)) {
    ++*watching_;
  }
  ~Watch() override { --*watching_; }

  asio::awaitable<Result<RequestEvent>> next() override {
    if (finished_) co_return Error(ErrorClass::Unavailable, "the watch is over");
    const std::shared_ptr<Known> known = known_;
    while (shown_ && known->commit == *shown_ && !known->forgotten) {
      boost::system::error_code woken;
      co_await known->changed.async_wait(asio::redirect_error(asio::use_awaitable, woken));
      const auto state = co_await asio::this_coro::cancellation_state;
      if (state.cancelled() != asio::cancellation_type::none) {
        throw boost::system::system_error(asio::error::operation_aborted);
      }
    }
    if (known->forgotten) co_return unknown("request");
    shown_ = known->commit;
    RequestEvent event;
    event.generation = known->generation;
    event.commit = known->commit;
    event.view = known->view;
    finished_ = event.view.state != "active";
    co_return event;
  }

 private:
  std::shared_ptr<std::size_t> watching_;
  std::shared_ptr<Known> known_;
  std::optional<CommitNumber> shown_;
  bool finished_ = false;
};

class FakeService::EventWatchImpl final : public EventWatch {
 public:
  EventWatchImpl(FakeService& service, EventCursor cursor) : service_(service), cursor_(cursor) {
    ++*service_.watching;
  }
  ~EventWatchImpl() override {
    --*service_.watching;
    service_.event_clients_.erase(this);
  }

  Result<std::shared_ptr<const EventPiece>> poll() override {
    if (service_.fail) return *service_.fail;
    return service_.feed_.next(cursor_);
  }

 private:
  FakeService& service_;
  EventCursor cursor_;
};

FakeService::FakeService(asio::any_io_executor executor) : executor_(std::move(executor)) {
  feed_.restart(generation);
}
FakeService::~FakeService() = default;

void FakeService::addVm(const std::string& name) {
  VmView view;
  view.vm.spec.id.uuid.bytes[0] = 0xaa;
  view.vm.spec.id.uuid.bytes[14] = static_cast<std::uint8_t>(vms.size() >> 8U);
  view.vm.spec.id.uuid.bytes[15] = static_cast<std::uint8_t>(vms.size() + 1);
  view.vm.spec.name = name;
  view.vm.spec.memory = 1u << 20;
  view.vm.xml = "<domain>" + name + "</domain>";
  view.state = "stopped";
  vms.emplace(name, std::move(view));
}

void FakeService::addHost(const HostId& host) {
  HostView view;
  view.host.id = host;
  view.host.memory = 1u << 30;
  view.state = "ready";
  hosts.emplace(host, std::move(view));
}

std::vector<RequestId> FakeService::requestIds() const {
  std::vector<RequestId> ids;
  for (const auto& [id, known] : requests_) ids.push_back(id);
  return ids;
}

void FakeService::change(RequestId id, const std::function<void(RequestView&)>& how) {
  const auto& known = requests_.at(id);
  how(known->view);
  known->generation = generation;
  known->commit.value = ++commit_;
  known->changed.cancel();
}

void FakeService::forget(RequestId id) {
  const auto known = requests_.at(id);
  known->forgotten = true;
  known->changed.cancel();
  requests_.erase(id);
}

Result<std::vector<std::string>> FakeService::namesOf(const VmSelection& which) const {
  std::vector<std::string> names;
  if (!which.vms.empty()) {
    for (const std::string& name : which.vms) {
      if (!vms.contains(name)) return unknown("vm '" + name + "'");
      names.push_back(name);
    }
    return names;
  }
  for (const auto& [name, view] : vms) {
    const auto& labels = view.vm.labels;
    const bool fits =
        std::all_of(which.selector.begin(), which.selector.end(), [&labels](const auto& wanted) {
          const auto found = labels.find(wanted.first);
          return found != labels.end() && found->second == wanted.second;
        });
    if (fits) names.push_back(name);
  }
  return names;
}

Result<VmView*> FakeService::findVm(const std::string& name_or_id) {
  for (auto& [name, view] : vms) {
    if (name == name_or_id || view.vm.spec.id.str() == name_or_id) return &view;
  }
  return unknown("vm '" + name_or_id + "'");
}

Result<HostView*> FakeService::findHost(const HostId& host) {
  const auto found = hosts.find(host);
  if (found == hosts.end()) return unknown("host '" + host + "'");
  return &found->second;
}

asio::awaitable<Result<std::vector<VmView>>> FakeService::defineVms(Principal who, DefineVms what) {
  principal = who;
  defined = what;
  if (fail) co_return *fail;
  const auto documents = parseDomainXml(what.xml);
  if (!documents) co_return documents.error();
  std::vector<VmView> views;
  for (const VmDocument& document : *documents) {
    VmView view;
    view.vm.spec = document.spec;
    view.vm.xml = document.xml;
    view.vm.labels = what.labels.value_or(std::map<std::string, std::string>());
    view.state = "stopped";
    vms.insert_or_assign(document.spec.name, view);
    views.push_back(std::move(view));
  }
  co_return views;
}

asio::awaitable<Result<VmPage>> FakeService::listVms(std::map<std::string, std::string> selector,
                                                     std::size_t limit, std::string cursor) {
  if (fail) co_return *fail;
  VmPage page;
  VmSelection which;
  which.all = selector.empty();
  which.selector = std::move(selector);
  const auto names = namesOf(which);
  for (const std::string& name : *names) {
    if (name <= cursor) continue;
    if (page.vms.size() == limit) {
      page.next_cursor = page.vms.back().vm.spec.name;
      break;
    }
    page.vms.push_back(vms.at(name));
  }
  co_return page;
}

asio::awaitable<Result<VmView>> FakeService::showVm(std::string name_or_id) {
  if (fail) co_return *fail;
  const auto found = findVm(name_or_id);
  if (!found) co_return found.error();
  co_return **found;
}

asio::awaitable<Result<VmView>> FakeService::setVm(Principal who, std::string name_or_id,
                                                   VmSettings wanted) {
  principal = who;
  settings = wanted;
  if (fail) co_return *fail;
  const auto found = findVm(name_or_id);
  if (!found) co_return found.error();
  if (wanted.priority) (*found)->vm.priority = *wanted.priority;
  co_return **found;
}

asio::awaitable<Result<void>> FakeService::undefineVm(Principal who, std::string name_or_id) {
  principal = who;
  if (fail) co_return *fail;
  const auto found = findVm(name_or_id);
  if (!found) co_return found.error();
  vms.erase(std::string((*found)->vm.spec.name));
  co_return Result<void>();
}

asio::awaitable<Result<RequestView>> FakeService::createRequest(Principal who, StartRequest what) {
  principal = who;
  started = what;
  if (fail) co_return *fail;
  const auto names = namesOf(what.selection);
  if (!names) co_return names.error();
  for (const auto& [id, known] : requests_) {
    if (what.idempotency_key.empty() ||
        known->view.request.idempotency_key != what.idempotency_key) {
      continue;
    }
    if (known->body_hash == what.body_hash) co_return known->view;
    co_return Error(ErrorClass::KeyReused, "the key came with another body; choose another key");
  }
  auto known = std::make_shared<Known>(executor_);
  RequestView& view = known->view;
  view.request.id.uuid.bytes[0] = next_id_++;
  view.request.principal = who.name;
  view.request.idempotency_key = what.idempotency_key;
  view.request.total = static_cast<std::uint32_t>(names->size());
  view.state = finish_at_once ? "succeeded" : "active";
  (finish_at_once ? view.running : view.queued) = view.request.total;
  known->body_hash = what.body_hash;
  known->generation = generation;
  known->commit.value = ++commit_;
  requests_.emplace(view.request.id, known);
  co_return view;
}

asio::awaitable<Result<std::vector<DryRunItem>>> FakeService::dryRun(StartRequest what) {
  started = what;
  if (fail) co_return *fail;
  const auto names = namesOf(what.selection);
  if (!names) co_return names.error();
  std::vector<DryRunItem> items;
  for (const std::string& name : *names) {
    DryRunItem item;
    item.vm_name = name;
    item.state = vms.at(name).state;
    if (hosts.empty()) item.why_not = "no host is there";
    if (!hosts.empty()) item.host = hosts.begin()->first;
    items.push_back(std::move(item));
  }
  co_return items;
}

asio::awaitable<Result<RequestView>> FakeService::showRequest(RequestId id) {
  if (fail) co_return *fail;
  const auto found = requests_.find(id);
  if (found == requests_.end()) co_return unknown("request " + id.str());
  co_return found->second->view;
}

asio::awaitable<Result<RequestPage>> FakeService::listRequests(std::size_t limit, std::string) {
  if (fail) co_return *fail;
  RequestPage page;
  for (const auto& [id, known] : requests_) {
    if (page.requests.size() < limit) page.requests.push_back(known->view);
  }
  co_return page;
}

asio::awaitable<Result<RequestView>> FakeService::cancelRequest(Principal who, RequestId id) {
  principal = who;
  if (fail) co_return *fail;
  if (!requests_.contains(id)) co_return unknown("request " + id.str());
  change(id, [](RequestView& view) {
    view.cancelled += view.queued;
    view.queued = 0;
    view.state = "cancelled";
  });
  co_return requests_.at(id)->view;
}

asio::awaitable<Result<std::unique_ptr<RequestWatch>>> FakeService::watchRequest(RequestId id) {
  if (fail) co_return *fail;
  const auto found = requests_.find(id);
  if (found == requests_.end()) co_return unknown("request " + id.str());
  std::unique_ptr<RequestWatch> watch = std::make_unique<Watch>(watching, found->second);
  co_return watch;
}

Result<std::unique_ptr<EventWatch>> FakeService::watchEvents(EventKinds kinds,
                                                             std::optional<EventId> last,
                                                             std::function<void()> on_change) {
  if (fail) return *fail;
  if (refuse_watching) return *refuse_watching;
  auto watch = std::make_unique<EventWatchImpl>(*this, feed_.open(kinds, last));
  event_clients_.emplace(watch.get(), std::move(on_change));
  return std::unique_ptr<EventWatch>(std::move(watch));
}

void FakeService::tell(EventBatch batch) {
  if (feed_.generation() != generation) feed_.restart(generation);
  feed_.apply(std::move(batch), ++commit_);
  for (const auto& [watch, on_change] : event_clients_) on_change();
}

asio::awaitable<Result<std::vector<StopItem>>> FakeService::stopVms(Principal who, StopVms what) {
  principal = who;
  stopped = what;
  if (fail) co_return *fail;
  const auto names = namesOf(what.selection);
  if (!names) co_return names.error();
  std::vector<StopItem> items;
  for (const std::string& name : *names) {
    StopItem item;
    item.vm = vms.at(name).vm.spec.id;
    item.vm_name = name;
    item.state = vms.at(name).state == "stopped" ? "stopped" : "stopping";
    vms.at(name).state = "stopped";
    items.push_back(std::move(item));
  }
  co_return items;
}

asio::awaitable<Result<std::vector<HostView>>> FakeService::listHosts() {
  if (fail) co_return *fail;
  std::vector<HostView> list;
  for (const auto& [id, host] : hosts) list.push_back(host);
  co_return list;
}

asio::awaitable<Result<HostView>> FakeService::showHost(HostId host) {
  if (fail) co_return *fail;
  const auto found = findHost(host);
  if (!found) co_return found.error();
  co_return **found;
}

asio::awaitable<Result<std::vector<StagingItem>>> FakeService::staging(HostId host) {
  if (fail) co_return *fail;
  if (!hosts.contains(host)) co_return unknown("host '" + host + "'");
  StagingItem item;
  item.vm_name = "half-built";
  item.state = AttemptState::Building;
  std::vector<StagingItem> items;
  items.push_back(std::move(item));
  co_return items;
}

asio::awaitable<Result<HostView>> FakeService::setDraining(Principal who, HostId host, bool on) {
  principal = who;
  if (fail) co_return *fail;
  const auto found = findHost(host);
  if (!found) co_return found.error();
  (*found)->host.draining = on;
  (*found)->state = on ? "draining" : "ready";
  co_return **found;
}

asio::awaitable<Result<HostView>> FakeService::confirmHost(Principal who, HostId host) {
  principal = who;
  if (fail) co_return *fail;
  const auto found = findHost(host);
  if (!found) co_return found.error();
  (*found)->host.confirmed = true;
  co_return **found;
}

asio::awaitable<Result<HostView>> FakeService::forgetHost(Principal who, HostId host, bool fenced) {
  principal = who;
  if (fail) co_return *fail;
  const auto found = findHost(host);
  if (!found) co_return found.error();
  if (!fenced) co_return Error(ErrorClass::Busy, "host '" + host + "' may run VMs");
  (*found)->host.forgotten_by = who.name;
  (*found)->state = "forgotten";
  co_return **found;
}

asio::awaitable<Result<HistoryPage>> FakeService::history(HistoryQuery query) {
  asked = query;
  if (fail) co_return *fail;
  if (fail_history_after && (*fail_history_after)-- == 0) {
    co_return Error(ErrorClass::Unavailable, "the store is away");
  }
  HistoryPage page;
  std::size_t next = query.cursor.empty() ? 0 : std::stoul(query.cursor);
  while (next < attempts.size() && page.attempts.size() < query.limit) {
    page.attempts.push_back(attempts[next++]);
  }
  if (next < attempts.size()) page.next_cursor = std::to_string(next);
  co_return page;
}

asio::awaitable<Result<HistoryStats>> FakeService::historyStats(HistoryQuery query) {
  asked = query;
  if (fail) co_return *fail;
  HistoryStats stats;
  stats.count = 4;
  stats.succeeded = 3;
  stats.failed = 1;
  PhaseStats phase;
  phase.phase = "total";
  phase.count = 3;
  phase.p50_ms = 12.5;
  stats.phases.push_back(phase);
  co_return stats;
}

std::optional<TokenRecord> FakeService::findToken(const std::string& hash) const {
  const auto found = tokens.find(hash);
  if (found == tokens.end()) return std::nullopt;
  return found->second;
}

asio::awaitable<Result<void>> FakeService::putToken(Principal who, TokenRecord token) {
  principal = who;
  if (fail) co_return *fail;
  std::string hash = token.hash;
  tokens.insert_or_assign(std::move(hash), std::move(token));
  co_return Result<void>();
}

asio::awaitable<Result<std::vector<TokenRecord>>> FakeService::listTokens() {
  std::vector<TokenRecord> list;
  for (const auto& [hash, token] : tokens) list.push_back(token);
  co_return list;
}

}  // namespace vms::runner
