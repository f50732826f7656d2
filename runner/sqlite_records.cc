#include "runner/sqlite_records.h"

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

const TableText kVmTable{"vms", "id",
                         "id, priority, ha, tier, after, gate, gate_delay_ms, labels, epoch, "
                         "defined, defined_at, updated_at",
                         "", "excluded.epoch >= vms.epoch"};
const TableText kVmDefinitionTable{"vm_definitions", "vm",
                                   "vm, name, domain_type, memory, vcpus, xml", "", ""};
const TableText kRequestTable{"requests", "id",
                              "id, principal, idempotency_key, body_hash, priority, option_host, "
                              "option_avoid, option_paused, option_deadline, total, batches, "
                              "cancelled, created_at, finished_at",
                              "", ""};
const TableText kItemTable{"request_items", "request, position",
                           "request, position, vm, run, cancelled", "", ""};
const TableText kRunTable{"runs", "id",
                          "id, request, vm, vm_name, state, reason, requester, priority, "
                          "option_host, option_avoid, option_paused, option_deadline, "
                          "requested_at, finished_at, tries, soon_tries, failed_hosts, "
                          "backoff_ms, held_reason, cancel_wished, attempt, error_class, error",
                          "", ""};
const TableText kAttemptTable{
    "attempts", "id",
    "id, vm, epoch, run, request, vm_name, host, boot_id, term, batch, reason, requester, "
    "priority, memory, vcpus, paused, state, outcome, requested_at, placed_at, sent_at, "
    "accepted_at, staged_at, build_started_at, built_at, running_at, ready_at, ended_at, "
    "stopped_at, error_class, error, proof, stop_reason, cancel_wished, stop_wished, "
    "stop_requester",
    "vm, epoch, request, host, reason, requested_at",
    "attempts.vm = excluded.vm AND attempts.epoch = excluded.epoch AND "
    "attempts.request = excluded.request AND attempts.host = excluded.host AND "
    "attempts.reason = excluded.reason AND attempts.requested_at = excluded.requested_at"};
const TableText kHostTable{"hosts", "id",
                           "id, hardware_uuid, boot_id, retired_boots, hypervisor_uri, "
                           "hypervisor_host_uuid, cpus, memory, agent_version, draining, "
                           "confirmed, alarm, first_seen, last_seen",
                           "", ""};
const TableText kTokenTable{"tokens", "id",
                            "id, hash, role, name, created_at, expires_at, revoked_at", "", ""};

namespace {

constexpr std::pair<HaPolicy, std::string_view> kHaPolicies[] = {{HaPolicy::Off, "off"},
                                                                 {HaPolicy::Restart, "restart"}};
constexpr std::pair<Gate::Kind, std::string_view> kGates[] = {
    {Gate::Kind::Running, "running"},
    {Gate::Kind::GuestAgent, "guest-agent"},
    {Gate::Kind::Delay, "delay"}};
constexpr std::pair<AttemptRecord::StopWish, std::string_view> kStopWishes[] = {
    {AttemptRecord::StopWish::None, "none"},
    {AttemptRecord::StopWish::Shutdown, "shutdown"},
    {AttemptRecord::StopWish::ForceOff, "force_off"}};

template <class T, std::size_t N>
std::string_view nameIn(const std::pair<T, std::string_view> (&table)[N], T value) {
  return table[static_cast<std::size_t>(value)].second;
}

template <class T, std::size_t N>
std::optional<T> valueIn(const std::pair<T, std::string_view> (&table)[N], std::string_view name) {
  for (const auto& [value, its_name] : table) {
    if (its_name == name) return value;
  }
  return std::nullopt;
}

std::optional<HaPolicy> parseHaPolicy(std::string_view name) noexcept {
  return valueIn(kHaPolicies, name);
}
std::optional<Gate::Kind> parseGate(std::string_view name) noexcept {
  return valueIn(kGates, name);
}
std::optional<AttemptRecord::StopWish> parseStopWish(std::string_view name) noexcept {
  return valueIn(kStopWishes, name);
}

std::vector<std::string_view> splitColumns(std::string_view columns) {
  std::vector<std::string_view> names;
  while (!columns.empty()) {
    const std::size_t comma = columns.find(", ");
    names.push_back(columns.substr(0, comma));
    columns = comma == std::string_view::npos ? std::string_view() : columns.substr(comma + 2);
  }
  return names;
}

bool contains(const std::vector<std::string_view>& names, std::string_view name) {
  for (const std::string_view one : names) {
    if (one == name) return true;
  }
  return false;
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
  static const std::optional<std::int64_t> kNull;
  if (id) {
    binder << id->uuid;
  } else {
    binder << kNull;
  }
}

template <class T>
void readId(RowReader& reader, std::optional<Id<T>>& id) {
  std::optional<Uuid> uuid;
  reader >> uuid;
  if (uuid) id = Id<T>{*uuid};
}

void bindErrorClass(Binder& binder, const std::optional<ErrorClass>& error_class) {
  binder << (error_class ? std::optional<std::string_view>(nameOf(*error_class)) : std::nullopt);
}

void readOptions(RowReader& reader, RunOptions& options) {
  reader >> options.host;
  readList(reader, options.avoid);
  reader >> options.paused >> options.deadline;
}

}  // namespace

std::string upsertSql(const TableText& table) {
  const auto columns = splitColumns(table.columns);
  const auto key = splitColumns(table.key);
  const auto fixed = splitColumns(table.fixed);
  std::string parameters;
  std::string updates;
  for (const std::string_view column : columns) {
    parameters += parameters.empty() ? "?" : ", ?";
    if (contains(key, column) || contains(fixed, column)) continue;
    if (!updates.empty()) updates += ", ";
    updates.append(column).append(" = excluded.").append(column);
  }
  std::string sql = "INSERT INTO ";
  sql.append(table.name).append(" (").append(table.columns).append(") VALUES (");
  sql.append(parameters).append(") ON CONFLICT (").append(table.key);
  sql.append(") DO UPDATE SET ").append(updates);
  if (!table.guard.empty()) sql.append(" WHERE ").append(table.guard);
  return sql;
}

std::string selectList(const TableText& table, std::string_view alias) {
  if (alias.empty()) return std::string(table.columns);
  std::string list;
  for (const std::string_view column : splitColumns(table.columns)) {
    if (!list.empty()) list += ", ";
    list.append(alias).append(".").append(column);
  }
  return list;
}

int putVm(SQLite::Statement& upsert, const VmRecord& vm) {
  const std::string after = toText(vm.after);
  const std::string labels = toText(vm.labels);
  Binder binder(upsert);
  binder << vm.spec.id.uuid << vm.priority << nameIn(kHaPolicies, vm.ha) << vm.tier << after
         << nameIn(kGates, vm.gate.kind) << ceilMs(vm.gate.delay) << labels << vm.epoch.value
         << vm.defined << vm.defined_at << vm.updated_at;
  return binder.run();
}

int putVmDefinition(SQLite::Statement& upsert, const VmRecord& vm) {
  Binder binder(upsert);
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

int putRequest(SQLite::Statement& upsert, const RequestRecord& request) {
  const std::string avoid = toText(request.options.avoid);
  Binder binder(upsert);
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

int putItem(SQLite::Statement& upsert, const ItemRecord& item) {
  Binder binder(upsert);
  binder << item.request.uuid << item.position << item.vm.uuid << item.run.uuid << item.cancelled;
  return binder.run();
}

ItemRecord readItem(SQLite::Statement& row) {
  ItemRecord item;
  RowReader reader(row);
  reader >> item.request.uuid >> item.position >> item.vm.uuid >> item.run.uuid >> item.cancelled;
  return item;
}

int putRun(SQLite::Statement& upsert, const RunRecord& run) {
  const std::string avoid = toText(run.options.avoid);
  const std::string failed_hosts = toText(run.failed_hosts);
  Binder binder(upsert);
  binder << run.id.uuid << run.request.uuid << run.vm.uuid << run.vm_name << nameOf(run.state)
         << nameOf(run.reason) << run.requester << run.priority << run.options.host << avoid
         << run.options.paused << run.options.deadline << run.requested_at << run.finished_at
         << run.tries << run.soon_tries << failed_hosts << ceilMs(run.backoff) << run.held_reason
         << run.cancel_wished;
  bindId(binder, run.attempt);
  bindErrorClass(binder, run.error_class);
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

int putAttempt(SQLite::Statement& upsert, const AttemptRecord& attempt) {
  Binder binder(upsert);
  binder << attempt.ref.attempt.uuid << attempt.ref.vm.uuid << attempt.ref.epoch.value
         << attempt.run.uuid << attempt.request.uuid << attempt.vm_name << attempt.host
         << attempt.boot_id << attempt.term.value;
  bindId(binder, attempt.batch);
  binder << nameOf(attempt.reason) << attempt.requester << attempt.priority << attempt.memory
         << attempt.vcpus << attempt.paused << nameOf(attempt.state) << outcomeOf(attempt)
         << attempt.requested_at << attempt.placed_at << attempt.sent_at << attempt.accepted_at
         << attempt.staged_at << attempt.build_started_at << attempt.built_at << attempt.running_at
         << attempt.ready_at << attempt.ended_at << attempt.stopped_at;
  bindErrorClass(binder, attempt.error_class);
  binder << attempt.error
         << (attempt.proof ? std::optional<std::string_view>(nameOf(*attempt.proof)) : std::nullopt)
         << attempt.stop_reason << attempt.cancel_wished << nameIn(kStopWishes, attempt.stop_wished)
         << attempt.stop_requester;
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

int putHost(SQLite::Statement& upsert, const HostRecord& host) {
  const std::string retired = toText(host.retired_boots);
  Binder binder(upsert);
  binder << host.id << host.hardware_uuid << host.boot_id << retired << host.hypervisor_uri
         << host.hypervisor_host_uuid << host.cpus << host.memory << host.agent_version
         << host.draining << host.confirmed << host.alarm << host.first_seen << host.last_seen;
  return binder.run();
}

HostRecord readHost(SQLite::Statement& row) {
  HostRecord host;
  RowReader reader(row);
  reader >> host.id >> host.hardware_uuid >> host.boot_id;
  readList(reader, host.retired_boots);
  reader >> host.hypervisor_uri >> host.hypervisor_host_uuid >> host.cpus >> host.memory >>
      host.agent_version >> host.draining >> host.confirmed >> host.alarm >> host.first_seen >>
      host.last_seen;
  return host;
}

int putToken(SQLite::Statement& upsert, const TokenRecord& token) {
  Binder binder(upsert);
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
