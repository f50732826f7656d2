#include "tests/sim/client.h"

#include <algorithm>
#include <utility>

#include "schema/base/uuid.h"

namespace vms::sim {

using runner::Service;

namespace {

runner::Principal person() { return runner::Principal{"sim", "operator"}; }

std::string xmlOf(const VmDraft& vm, const Uuid& uuid) {
  return "<domain type='qemu'><name>" + vm.name + "</name><uuid>" + uuid.str() +
         "</uuid><memory unit='KiB'>" + std::to_string(vm.memory >> 10U) + "</memory><vcpu>" +
         std::to_string(vm.vcpus) + "</vcpu><os><type>hvm</type></os></domain>";
}

}  // namespace

std::string StartOrder::bodyHash() const {
  std::string text = all ? "all" : "";
  for (const std::string& vm : vms) text += "," + vm;
  if (paused) text += ";paused";
  if (host) text += ";host=" + *host;
  return text;
}

Client::Client(SimCluster& cluster, Rng rng) : cluster_(cluster), rng_(rng) {
  cluster_.engineProcess().onCrash([weak = std::weak_ptr<Client*>(self_)]() {
    if (const auto client = weak.lock()) (*client)->engineCrashed();
  });
}

void Client::submit(std::string what, std::function<asio::awaitable<Verdict>(Service&)> body,
                    bool repeatable) {
  const std::uint64_t number = next_number_++;
  Operation operation;
  operation.what = std::move(what);
  operation.body = std::move(body);
  operation.repeatable = repeatable;
  open_.emplace(number, std::move(operation));
  attempt(number);
}

void Client::attempt(std::uint64_t number) {
  const auto found = open_.find(number);
  if (found == open_.end() || found->second.under_way) return;
  const auto body = found->second.body;
  const bool begun = cluster_.call(found->second.what,
                                   [this, number, body](Service& service) -> asio::awaitable<void> {
                                     const Verdict verdict = co_await body(service);
                                     const auto ended = open_.find(number);
                                     if (ended == open_.end()) co_return;
                                     ended->second.under_way = false;
                                     if (verdict == Verdict::Done) {
                                       open_.erase(ended);
                                     } else {
                                       again(number);
                                     }
                                   });
  if (begun) {
    found->second.under_way = true;
  } else {
    again(number);
  }
}

void Client::again(std::uint64_t number) {
  const auto found = open_.find(number);
  if (found == open_.end()) return;
  if (quitting_) {
    open_.erase(found);
    return;
  }
  Operation& operation = found->second;
  const Duration pause = operation.pause + rng_.between(Duration{}, operation.pause);
  operation.pause = std::min<Duration>(operation.pause * 2, seconds(5));
  cluster_.world().in(pause, [this, number]() { attempt(number); });
}

void Client::engineCrashed() {
  std::vector<std::uint64_t> lost;
  for (auto& [number, operation] : open_) {
    if (operation.under_way) lost.push_back(number);
  }
  for (const std::uint64_t number : lost) {
    Operation& operation = open_.at(number);
    operation.under_way = false;
    if (operation.repeatable) {
      again(number);
    } else {
      open_.erase(number);
    }
  }
}

Client::Verdict Client::judge(const std::string& what, const Error& error) {
  const std::string line =
      "client: " + what + ": " + std::string(nameOf(error.error_class)) + ": " + error.message;
  cluster_.checkers().errorSeen(error.error_class);
  if (error.message.empty()) {
    cluster_.checkers().fail("error_without_message", what + " failed and does not say why");
  }
  switch (error.error_class) {
    case ErrorClass::RateLimited:
    case ErrorClass::StoreFull:
    case ErrorClass::Unavailable:
    case ErrorClass::HostNotReady:
      cluster_.world().detail(line);
      return Verdict::Again;
    case ErrorClass::Internal:
      cluster_.checkers().fail("internal_error", what + ": " + error.message);
      return Verdict::Done;
    default:
      cluster_.world().tell(line);
      return Verdict::Done;
  }
}

void Client::define(std::vector<VmDraft> vms) {
  std::map<Duration, std::vector<VmDraft>> by_gate;  // A document has one gate.
  for (VmDraft& vm : vms) by_gate[vm.gate].push_back(std::move(vm));
  for (const auto& [gate, drafts] : by_gate) defineAlike(drafts, gate);
}

void Client::defineAlike(const std::vector<VmDraft>& vms, Duration gate) {
  runner::DefineVms definition;
  if (gate > Duration{}) definition.gate = runner::Gate{runner::Gate::Kind::Delay, gate};
  definition.xml = "<domains>";
  for (const VmDraft& vm : vms) {
    auto [place, is_new] = vm_ids_.try_emplace(vm.name);
    if (is_new) place->second = makeUuidV7(kWorldStart, rng_);
    definition.xml += xmlOf(vm, place->second);
  }
  definition.xml += "</domains>";
  const std::size_t count = vms.size();
  submit("define", [this, definition, count](Service& service) -> asio::awaitable<Verdict> {
    const auto defined = co_await service.defineVms(person(), definition);
    if (!defined) co_return judge("define", defined.error());
    if (defined->size() != count) {
      cluster_.checkers().fail("wrong_answer", "not every VM of a document was defined");
    }
    cluster_.world().tell("client: defined " + std::to_string(count) + " VMs");
    co_return Verdict::Done;
  });
}

void Client::start(StartOrder order) {
  const bool repeatable = !order.key.empty();
  submit(
      "start",
      [this, order](Service& service) -> asio::awaitable<Verdict> {
        runner::StartRequest request;
        request.selection.vms = order.vms;
        request.selection.all = order.all;
        request.paused = order.paused;
        request.host = order.host;
        request.deadline = order.deadline;
        request.idempotency_key = order.key;
        request.body_hash = order.bodyHash();
        const auto answered = co_await service.createRequest(person(), request);
        co_return judgeStart(order, answered);
      },
      repeatable);
}

Client::Verdict Client::judgeStart(const StartOrder& order,
                                   const Result<runner::RequestView>& result) {
  const auto known = order.key.empty() ? by_key_.end() : by_key_.find(order.key);
  const bool other_body = known != by_key_.end() && known->second.body_hash != order.bodyHash();
  if (!result) {
    if (result.error().error_class == ErrorClass::KeyReused) {
      cluster_.checkers().errorSeen(ErrorClass::KeyReused);
      cluster_.world().tell("client: start " + order.key + ": " + result.error().message);
      if (known != by_key_.end() && !other_body) {
        cluster_.checkers().fail(
            "idempotency", "key " + order.key + " was refused for the body it came with first");
      }
      return Verdict::Done;
    }
    return judge("start " + order.key, result.error());
  }
  const RequestId id = result->request.id;
  if (other_body) {
    cluster_.checkers().fail("idempotency", "key " + order.key + " was accepted for another body");
  } else if (known != by_key_.end() && known->second.request != id) {
    cluster_.checkers().fail("idempotency", "key " + order.key + " gave another request");
  }
  cluster_.checkers().requestAccepted(id, result->request.total);
  if (known == by_key_.end()) {
    ++accepted_;
    cluster_.world().tell("client: request " + (order.key.empty() ? "without key" : order.key) +
                          " accepted, " + std::to_string(result->request.total) + " VMs");
    if (!order.key.empty()) by_key_[order.key] = Accepted{id, order.bodyHash()};
  }
  return Verdict::Done;
}

void Client::cancel(std::string key) {
  submit("cancel", [this, key](Service& service) -> asio::awaitable<Verdict> {
    const auto known = by_key_.find(key);
    if (known == by_key_.end()) co_return Verdict::Done;
    const RequestId id = known->second.request;
    const auto cancelled = co_await service.cancelRequest(person(), id);
    if (!cancelled) co_return judge("cancel " + key, cancelled.error());
    const auto row = cluster_.store().contents().requests.find(id);
    if (row != cluster_.store().contents().requests.end() && !row->second.cancelled &&
        !row->second.finished_at) {
      cluster_.checkers().fail("revealed_before_durable",
                               "the cancellation of " + key + " was answered and is not stored");
    }
    cluster_.world().tell("client: cancelled request " + key);
    co_return Verdict::Done;
  });
}

void Client::stop(std::vector<std::string> vms, bool force) {
  cluster_.checkers().stopOrdered(vms);
  submit("stop", [this, vms, force](Service& service) -> asio::awaitable<Verdict> {
    runner::StopVms order;
    order.selection.vms = vms;
    order.force = force;
    const auto stopped = co_await service.stopVms(person(), order);
    if (!stopped) co_return judge("stop", stopped.error());
    if (stopped->size() != vms.size()) {
      cluster_.checkers().fail("wrong_answer", "a stop answered for another number of VMs");
    }
    std::string text = "client: stop:";
    for (const runner::StopItem& item : *stopped) text += " " + item.vm_name + " " + item.state;
    cluster_.world().tell(text);
    co_return Verdict::Done;
  });
}

void Client::drain(HostId host, bool on) {
  submit("drain", [this, host, on](Service& service) -> asio::awaitable<Verdict> {
    const auto drained = co_await service.setDraining(person(), host, on);
    if (!drained) co_return judge("drain", drained.error());
    cluster_.world().tell("client: " + host + (on ? " drained" : " activated"));
    co_return Verdict::Done;
  });
}

void Client::forget(HostId host, bool fenced) {
  submit("forget", [this, host, fenced](Service& service) -> asio::awaitable<Verdict> {
    // A name that is forgotten is free for the next machine, which must not be an impostor.
    const bool cloned = cluster_.findNode(host + "-clone") != nullptr;
    if (cloned || (fenced && !cluster_.isOff(host))) {
      cluster_.world().tell("operator: does not forget " + host);
      co_return Verdict::Done;
    }
    const auto forgotten = co_await service.forgetHost(person(), host, fenced);
    if (!forgotten) co_return judge("forget " + host, forgotten.error());
    cluster_.world().tell("operator: forgets " + host);
    co_return Verdict::Done;
  });
}

void Client::undefine(std::string vm) {
  submit("undefine", [this, vm](Service& service) -> asio::awaitable<Verdict> {
    const auto undefined = co_await service.undefineVm(person(), vm);
    if (!undefined) co_return judge("undefine " + vm, undefined.error());
    cluster_.world().tell("client: undefined " + vm);
    co_return Verdict::Done;
  });
}

void Client::storeRestored() {
  const auto& requests = cluster_.store().contents().requests;
  std::erase_if(by_key_,
                [&](const auto& entry) { return requests.count(entry.second.request) == 0; });
}

void Client::answerAlarms() {
  submit("answer alarms", [this](Service& service) -> asio::awaitable<Verdict> {
    const auto hosts = co_await service.listHosts();
    if (!hosts) co_return judge("list hosts", hosts.error());
    cluster_.endImpostors();  // One may have come since.
    cluster_.endLostGuests();
    const HostId missing = missingHost(*hosts);
    if (!missing.empty()) cluster_.world().tell("operator: waits for " + missing);
    for (const runner::HostView& view : *hosts) {
      if (view.host.alarm.empty() && view.host.confirmed) continue;
      if (!view.host.confirmed && !missing.empty()) continue;
      cluster_.world().tell("operator: confirms " + view.host.id +
                            (view.host.alarm.empty() ? "" : ": " + view.host.alarm));
      const auto confirmed = co_await service.confirmHost(person(), view.host.id);
      if (!confirmed) co_return judge("confirm", confirmed.error());
    }
    for (const HostId& host : cluster_.checkers().hostsWithLostMoves()) {
      cluster_.world().tell("operator: confirms " + host + ": what was moved away has ended");
      const auto confirmed = co_await service.confirmHost(person(), host);
      if (!confirmed) co_return judge("confirm", confirmed.error());
    }
    co_return Verdict::Done;
  });
}

HostId Client::missingHost(const std::vector<runner::HostView>& hosts) const {
  for (const auto& node : cluster_.nodes()) {
    if (node->isClone() || node->agent.incarnation() == 0) continue;
    const bool listed = std::any_of(hosts.begin(), hosts.end(), [&](const runner::HostView& view) {
      return view.host.id == node->name();
    });
    if (!listed) return node->name();
  }
  return {};
}

void Client::look() {
  submit("look", [this](Service& service) -> asio::awaitable<Verdict> {
    const auto hosts = co_await service.listHosts();
    if (!hosts) co_return judge("list hosts", hosts.error());
    checkHosts(*hosts);
    const auto requests = co_await service.listRequests(10, "");
    if (!requests) co_return judge("list requests", requests.error());
    checkRequests(requests->requests);
    runner::HistoryQuery query;
    query.limit = 20;
    const auto page = co_await service.history(query);
    if (!page) co_return judge("history", page.error());
    const std::map<std::string, std::string> all;
    const auto vms = co_await service.listVms(all, 100, "");
    if (!vms) co_return judge("list VMs", vms.error());
    checkVms(vms->vms);
    co_return Verdict::Done;
  });
}

void Client::checkRequests(const std::vector<runner::RequestView>& requests) {
  for (const runner::RequestView& view : requests) {
    const std::uint32_t sum = view.queued + view.placed + view.sent + view.staged + view.building +
                              view.running + view.ready + view.failed + view.held + view.unknown +
                              view.cancelled;
    if (sum != view.request.total) {
      cluster_.checkers().fail("wrong_answer", "the counts of a request sum to " +
                                                   std::to_string(sum) + " of " +
                                                   std::to_string(view.request.total));
    }
    const auto& stored = cluster_.store().contents().requests;
    const auto row = stored.find(view.request.id);
    if (row != stored.end() && row->second.batches >= view.batches &&
        (row->second.finished_at || view.state == "active")) {
      continue;
    }
    cluster_.checkers().fail("revealed_before_durable",
                             "request " + view.request.id.str() + " was told before it was stored");
  }
}

void Client::checkVms(const std::vector<runner::VmView>& vms) {
  const StoreContents& stored = cluster_.store().contents();
  for (const runner::VmView& view : vms) {
    const auto row = stored.vms.find(view.vm.spec.id);
    bool durable = row != stored.vms.end() && row->second.epoch >= view.vm.epoch;
    if (view.attempt) {
      const auto attempt = stored.attempts.find(view.attempt->ref.attempt);
      durable = durable && attempt != stored.attempts.end() &&
                attempt->second.stop_wished >= view.attempt->stop_wished &&
                (attempt->second.running_at || !view.attempt->running_at);
    }
    if (durable) continue;
    cluster_.checkers().fail(
        "revealed_before_durable",
        "VM " + view.vm.spec.name + " was told as " + view.state + " before that was stored");
  }
}

void Client::checkHosts(const std::vector<runner::HostView>& hosts) {
  for (const runner::HostView& view : hosts) {
    if (view.state == "ready" || view.state_reason.size() > 0) continue;
    cluster_.checkers().fail(
        "wrong_answer", "host " + view.host.id + " is " + view.state + " and does not say why");
  }
}

}  // namespace vms::sim
