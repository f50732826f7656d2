#include "runner/sqlite_records.h"

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <map>
#include <utility>
#include <vector>

#include "runner/store.h"
#include "schema/base/json.h"

namespace vms::runner {
namespace {

/// The names of an enumeration's values as strings that live for ever, so that binding one copies
/// nothing.
template <class T, std::size_t N>
class Names {
 public:
  template <class NameOf>
  explicit Names(NameOf name_of) {
    for (std::size_t i = 0; i < N; ++i) names_[i] = name_of(static_cast<T>(i));
  }
  const std::string& operator[](T value) const { return names_[static_cast<std::size_t>(value)]; }
  std::optional<T> find(std::string_view name) const {
    for (std::size_t i = 0; i < N; ++i) {
      if (names_[i] == name) return static_cast<T>(i);
    }
    return std::nullopt;
  }

 private:
  std::array<std::string, N> names_;
};

template <class T>
constexpr auto kNameOf = [](T value) { return nameOf(value); };

using StopWish = AttemptRecord::StopWish;

const Names<RunState, 8> kRunStates(kNameOf<RunState>);
const Names<AttemptState, 11> kAttemptStates(kNameOf<AttemptState>);
const Names<RunReason, 3> kReasons(kNameOf<RunReason>);
const Names<Proof, 5> kProofs(kNameOf<Proof>);
constexpr std::size_t kErrorClassCount = static_cast<std::size_t>(ErrorClass::Internal) + 1;
const Names<ErrorClass, kErrorClassCount> kErrorClasses(kNameOf<ErrorClass>);
const Names<HaPolicy, 2> kHaPolicies([](HaPolicy policy) {
  return policy == HaPolicy::Restart ? "restart" : "off";
});
const Names<Gate::Kind, 3> kGates([](Gate::Kind kind) {
  constexpr std::array kText = {"running", "guest-agent", "delay"};
  return kText[static_cast<std::size_t>(kind)];
});
const Names<StopWish, 3> kStopWishes([](StopWish wish) {
  constexpr std::array kText = {"none", "shutdown", "force_off"};
  return kText[static_cast<std::size_t>(wish)];
});

std::optional<HaPolicy> parseHaPolicy(std::string_view name) noexcept {
  return kHaPolicies.find(name);
}
std::optional<Gate::Kind> parseGate(std::string_view name) noexcept { return kGates.find(name); }
std::optional<StopWish> parseStopWish(std::string_view name) noexcept {
  return kStopWishes.find(name);
}

std::string toText(const std::vector<std::string>& list) {
  if (list.empty()) return {};
  json::array array;
  array.reserve(list.size());
  for (const std::string& one : list) array.emplace_back(one);
  return json::serialize(array);
}

std::string toText(const std::map<std::string, std::string>& map) {
  if (map.empty()) return {};
  json::object object;
  object.reserve(map.size());
  for (const auto& [key, value] : map) object.emplace(key, value);
  return json::serialize(object);
}

json::value parseOwn(const RowReader& reader, const std::string& text) {
  JsonLimits limits;
  limits.max_bytes = text.size();
  auto parsed = parseJson(text, "list", limits);
  if (!parsed) throw reader.corrupt(parsed.error().message);
  return std::move(*parsed);
}

std::string stringIn(const RowReader& reader, const json::value& value) {
  if (!value.is_string()) throw reader.corrupt("not a string in a list");
  const json::string& text = value.get_string();
  return {text.data(), text.size()};
}

void readList(RowReader& reader, std::vector<std::string>& list) {
  std::string text;
  reader >> text;
  if (text.empty()) return;
  const json::value parsed = parseOwn(reader, text);
  if (!parsed.is_array()) throw reader.corrupt("not a list");
  for (const json::value& one : parsed.get_array()) list.push_back(stringIn(reader, one));
}

void readMap(RowReader& reader, std::map<std::string, std::string>& map) {
  std::string text;
  reader >> text;
  if (text.empty()) return;
  const json::value parsed = parseOwn(reader, text);
  if (!parsed.is_object()) throw reader.corrupt("not a map");
  for (const auto& member : parsed.get_object()) {
    map.emplace(std::string(member.key()), stringIn(reader, member.value()));
  }
}

/// Rounded up, so that a back-off never becomes shorter than it was.
std::int64_t ceilMs(Duration duration) { return std::chrono::ceil<milliseconds>(duration).count(); }

template <class T>
void bindId(Binder& binder, const std::optional<Id<T>>& id) {
  if (id) {
    binder << id->uuid;
  } else {
    binder << std::optional<std::int64_t>();
  }
}

template <class T>
void readId(RowReader& reader, std::optional<Id<T>>& id) {
  std::optional<Uuid> uuid;
  reader >> uuid;
  if (uuid) id = Id<T>{*uuid};
}

/// A name, or NULL.
template <class T, std::size_t N>
void bindName(Binder& binder, const Names<T, N>& names, const std::optional<T>& value) {
  if (value) {
    binder << names[*value];
  } else {
    binder << std::optional<std::int64_t>();
  }
}

void readOptions(RowReader& reader, RunOptions& options) {
  reader >> options.host;
  readList(reader, options.avoid);
  reader >> options.paused >> options.deadline;
}

/// All columns of an attempt.
void bindAttempt(Binder& binder, const AttemptRecord& attempt) {
  binder << attempt.ref.attempt.uuid << attempt.ref.vm.uuid << attempt.ref.epoch.value
         << attempt.run.uuid << attempt.request.uuid << attempt.vm_name << attempt.host
         << attempt.boot_id << attempt.term.value;
  bindId(binder, attempt.batch);
  binder << kReasons[attempt.reason] << attempt.requester << attempt.priority << attempt.memory
         << attempt.vcpus << attempt.paused << kAttemptStates[attempt.state] << outcomeOf(attempt)
         << attempt.requested_at << attempt.placed_at << attempt.sent_at << attempt.accepted_at
         << attempt.staged_at << attempt.build_started_at << attempt.built_at << attempt.running_at
         << attempt.ready_at << attempt.ended_at << attempt.stopped_at;
  bindName(binder, kErrorClasses, attempt.error_class);
  binder << attempt.error;
  bindName(binder, kProofs, attempt.proof);
  binder << attempt.stop_reason << attempt.cancel_wished << kStopWishes[attempt.stop_wished]
         << attempt.stop_requester;
}

}  // namespace

int putVm(SQLite::Statement& write, const VmRecord& vm) {
  const std::string after = toText(vm.after);
  const std::string labels = toText(vm.labels);
  Binder binder(write);
  binder << vm.spec.id.uuid << vm.priority << kHaPolicies[vm.ha] << vm.tier << after
         << kGates[vm.gate.kind] << ceilMs(vm.gate.delay) << labels << vm.epoch.value << vm.defined
         << vm.defined_at << vm.updated_at;
  return binder.run();
}

int putVmDefinition(SQLite::Statement& write, const VmRecord& vm) {
  Binder binder(write);
  binder << vm.spec.id.uuid << vm.spec.name << vm.spec.domain_type << vm.spec.memory
         << vm.spec.vcpus << vm.xml;
  return binder.run();
}

VmRecord readVm(SQLite::Statement& row) {
  VmRecord vm;
  std::int64_t delay_ms = 0;
  RowReader reader(row);
  reader >> vm.spec.id.uuid >> vm.priority;
  reader.name(vm.ha, parseHaPolicy);
  reader >> vm.tier;
  readList(reader, vm.after);
  reader.name(vm.gate.kind, parseGate);
  reader >> delay_ms;
  vm.gate.delay = milliseconds(delay_ms);
  readMap(reader, vm.labels);
  reader >> vm.epoch.value >> vm.defined >> vm.defined_at >> vm.updated_at;
  reader.skip();  // The definition's key.
  reader >> vm.spec.name >> vm.spec.domain_type >> vm.spec.memory >> vm.spec.vcpus >> vm.xml;
  return vm;
}

int putRequest(SQLite::Statement& write, const RequestRecord& request) {
  const std::string avoid = toText(request.options.avoid);
  Binder binder(write);
  binder << request.id.uuid << request.principal << request.idempotency_key << request.body_hash
         << request.priority << request.options.host << avoid << request.options.paused
         << request.options.deadline << request.total << request.batches << request.cancelled
         << request.created_at << request.finished_at;
  return binder.run();
}

RequestRecord readRequest(SQLite::Statement& row) {
  RequestRecord request;
  RowReader reader(row);
  reader >> request.id.uuid >> request.principal >> request.idempotency_key >> request.body_hash >>
      request.priority;
  readOptions(reader, request.options);
  reader >> request.total >> request.batches >> request.cancelled >> request.created_at >>
      request.finished_at;
  return request;
}

int putItem(SQLite::Statement& write, const ItemRecord& item) {
  Binder binder(write);
  binder << item.request.uuid << item.position << item.vm.uuid << item.run.uuid << item.cancelled;
  return binder.run();
}

ItemRecord readItem(SQLite::Statement& row) {
  ItemRecord item;
  RowReader reader(row);
  reader >> item.request.uuid >> item.position >> item.vm.uuid >> item.run.uuid >> item.cancelled;
  return item;
}

int putRun(SQLite::Statement& write, const RunRecord& run) {
  const std::string avoid = toText(run.options.avoid);
  const std::string failed_hosts = toText(run.failed_hosts);
  Binder binder(write);
  binder << run.id.uuid << run.request.uuid << run.vm.uuid << run.vm_name << kRunStates[run.state]
         << kReasons[run.reason] << run.requester << run.priority << run.options.host << avoid
         << run.options.paused << run.options.deadline << run.requested_at << run.finished_at
         << run.tries << run.soon_tries << failed_hosts << ceilMs(run.backoff) << run.held_reason
         << run.cancel_wished;
  bindId(binder, run.attempt);
  bindName(binder, kErrorClasses, run.error_class);
  binder << run.error;
  return binder.run();
}

RunRecord readRun(SQLite::Statement& row) {
  RunRecord run;
  std::int64_t backoff_ms = 0;
  RowReader reader(row);
  reader >> run.id.uuid >> run.request.uuid >> run.vm.uuid >> run.vm_name;
  reader.name(run.state, parseRunState);
  reader.name(run.reason, parseRunReason);
  reader >> run.requester >> run.priority;
  readOptions(reader, run.options);
  reader >> run.requested_at >> run.finished_at >> run.tries >> run.soon_tries;
  readList(reader, run.failed_hosts);
  reader >> backoff_ms >> run.held_reason >> run.cancel_wished;
  run.backoff = milliseconds(backoff_ms);
  readId(reader, run.attempt);
  reader.name(run.error_class, parseErrorClass);
  reader >> run.error;
  return run;
}

int putAttempt(SQLite::Statement& write, const AttemptRecord& attempt) {
  Binder binder(write);
  bindAttempt(binder, attempt);
  return binder.run();
}

int putNewAttempt(SQLite::Statement& insert, const AttemptRecord& attempt, std::int64_t number) {
  Binder binder(insert);
  bindAttempt(binder, attempt);
  binder << number;
  return binder.run();
}

AttemptRecord readAttempt(SQLite::Statement& row) {
  AttemptRecord attempt;
  RowReader reader(row);
  reader >> attempt.ref.attempt.uuid >> attempt.ref.vm.uuid >> attempt.ref.epoch.value >>
      attempt.run.uuid >> attempt.request.uuid >> attempt.vm_name >> attempt.host >>
      attempt.boot_id >> attempt.term.value;
  readId(reader, attempt.batch);
  reader.name(attempt.reason, parseRunReason);
  reader >> attempt.requester >> attempt.priority >> attempt.memory >> attempt.vcpus >>
      attempt.paused;
  reader.name(attempt.state, parseAttemptState);
  reader.skip();  // The outcome follows from the rest.
  reader >> attempt.requested_at >> attempt.placed_at >> attempt.sent_at >> attempt.accepted_at >>
      attempt.staged_at >> attempt.build_started_at >> attempt.built_at >> attempt.running_at >>
      attempt.ready_at >> attempt.ended_at >> attempt.stopped_at;
  reader.name(attempt.error_class, parseErrorClass);
  reader >> attempt.error;
  reader.name(attempt.proof, parseProof);
  reader >> attempt.stop_reason >> attempt.cancel_wished;
  reader.name(attempt.stop_wished, parseStopWish);
  reader >> attempt.stop_requester;
  return attempt;
}

int putHost(SQLite::Statement& write, const HostRecord& host) {
  const std::string retired = toText(host.retired_boots);
  const std::string foreign = toText(host.foreign);
  const std::string moved = toText(host.moved);
  Binder binder(write);
  binder << host.id << host.hardware_uuid << host.boot_id << retired << foreign << moved
         << host.hypervisor_uri << host.hypervisor_host_uuid << host.cpus << host.memory
         << host.agent_version << host.draining << host.confirmed << host.alarm << host.forgotten_by
         << host.first_seen << host.last_seen;
  return binder.run();
}

HostRecord readHost(SQLite::Statement& row) {
  HostRecord host;
  RowReader reader(row);
  reader >> host.id >> host.hardware_uuid >> host.boot_id;
  readList(reader, host.retired_boots);
  readList(reader, host.foreign);
  readList(reader, host.moved);
  reader >> host.hypervisor_uri >> host.hypervisor_host_uuid >> host.cpus >> host.memory >>
      host.agent_version >> host.draining >> host.confirmed >> host.alarm >> host.forgotten_by >>
      host.first_seen >> host.last_seen;
  return host;
}

int putToken(SQLite::Statement& write, const TokenRecord& token) {
  Binder binder(write);
  binder << token.id << token.hash << token.role << token.name << token.created_at
         << token.expires_at << token.revoked_at;
  return binder.run();
}

TokenRecord readToken(SQLite::Statement& row) {
  TokenRecord token;
  RowReader reader(row);
  reader >> token.id >> token.hash >> token.role >> token.name >> token.created_at >>
      token.expires_at >> token.revoked_at;
  return token;
}

}  // namespace vms::runner
