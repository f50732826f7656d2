#include "runner/sqlite_writer.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "runner/sqlite_records.h"
#include "schema/base/check.h"
#include "schema/base/sqlite_rows.h"

namespace vms::runner {
namespace {

/// What is durable of a row that memory does not know: it is new, or final, or from an earlier
/// life.
template <class State>
std::optional<State> storedState(SQLite::Statement& select, const Uuid& id,
                                 std::optional<State> (*parse)(std::string_view) noexcept) {
  Binder binder(select);
  binder << id;
  if (!binder.step()) return std::nullopt;
  State state{};
  RowReader(select).name(state, parse);
  select.reset();
  return state;
}

std::size_t hashOfDefinition(const VmRecord& vm) {
  std::size_t hash = std::hash<std::string>()(vm.xml);
  const auto mix = [&hash](std::size_t more) {
    hash ^= more + 0x9e3779b97f4a7c15U + (hash << 6U) + (hash >> 2U);
  };
  mix(std::hash<std::string>()(vm.spec.name));
  mix(std::hash<std::string>()(vm.spec.domain_type));
  mix(vm.spec.memory);
  mix(vm.spec.vcpus);
  return hash;
}

template <class State>
void checkTransition(std::string_view what, const Uuid& id, std::optional<State> from, State to,
                     State last) {
  if (!from || *from == to || mayReach(*from, to, last)) return;
  std::string why(what);
  why.append(" ").append(id.str()).append(" cannot go from ").append(nameOf(*from));
  why.append(" to ").append(nameOf(to));
  checkFailed("mayReach(from, to)", __FILE__, __LINE__, why.c_str());
}

}  // namespace

SqliteWriter::SqliteWriter(SQLite::Database& connection)
    : vm_(connection, upsertSql(kVmTable)),
      update_vm_(connection, updateSql(kVmTable)),
      epoch_(connection, "UPDATE vms SET epoch = ?1 WHERE id = ?2 AND epoch <= ?1"),
      same_definition_(connection,
                       "SELECT 1 FROM vm_definitions WHERE vm = ? AND name = ? AND "
                       "domain_type = ? AND memory = ? AND vcpus = ? AND xml = ?"),
      definition_(connection, upsertSql(kVmDefinitionTable)),
      vm_name_(connection, "INSERT OR IGNORE INTO vm_names (name, vm) VALUES (?, ?)"),
      request_(connection, upsertSql(kRequestTable)),
      item_(connection, upsertSql(kItemTable)),
      run_(connection, upsertSql(kRunTable)),
      update_run_(connection, updateSql(kRunTable)),
      run_state_(connection, "SELECT state FROM runs WHERE id = ?"),
      attempt_(connection, numberedUpsertSql(kAttemptTable)),
      update_attempt_(connection, updateSql(kAttemptTable)),
      attempt_state_(connection, "SELECT state FROM attempts WHERE id = ?"),
      host_(connection, upsertSql(kHostTable)),
      token_(connection, upsertSql(kTokenTable)),
      attempt_rows_(connection) {}

void SqliteWriter::put(const Change& change) {
  std::visit([this](const auto& record) { put(record); }, change);
}

void SqliteWriter::committed() {
  runs_.committed();
  attempts_.committed();
}

void SqliteWriter::rolledBack() {
  definitions_.clear();
  runs_.rolledBack();
  attempts_.rolledBack();
}

void SqliteWriter::put(const VmEpochRecord& vm) {
  Binder binder(epoch_);
  binder << vm.epoch.value << vm.vm.uuid;
  if (binder.run() == 1) return;
  const std::string why = "the epoch of vm " + vm.vm.str() + " goes back to " +
                          std::to_string(vm.epoch.value) + ", or it has no row";
  checkFailed("epochs never go back", __FILE__, __LINE__, why.c_str());
}

/// Definitions are large, and most changes of a VM are of its settings: the durable one is compared
/// once, later ones by a hash.
bool SqliteWriter::sameDefinition(const VmRecord& vm) {
  const std::size_t hash = hashOfDefinition(vm);
  const auto [known, is_new] = definitions_.try_emplace(vm.spec.id.uuid, hash);
  if (!is_new) return std::exchange(known->second, hash) == hash;
  Binder same(same_definition_);
  same << vm.spec.id.uuid << vm.spec.name << vm.spec.domain_type << vm.spec.memory << vm.spec.vcpus
       << vm.xml;
  const bool found = same.step();
  same_definition_.reset();
  return found;
}

void SqliteWriter::put(const VmRecord& vm) {
  if (putVm(update_vm_, vm) != 1 && putVm(vm_, vm) != 1) {
    const std::string why =
        "the epoch of vm " + vm.spec.id.str() + " goes back to " + std::to_string(vm.epoch.value);
    checkFailed("epochs never go back", __FILE__, __LINE__, why.c_str());
  }
  if (sameDefinition(vm)) return;
  putVmDefinition(definition_, vm);
  Binder name(vm_name_);
  name << vm.spec.name << vm.spec.id.uuid;
  name.run();
}

void SqliteWriter::put(const RequestRecord& request) { putRequest(request_, request); }
void SqliteWriter::put(const ItemRecord& item) { putItem(item_, item); }

void SqliteWriter::put(const RunRecord& run) {
  std::optional<RunState> before = runs_.find(run.id.uuid);
  if (!before) before = storedState(run_state_, run.id.uuid, parseRunState);
  checkTransition("run", run.id.uuid, before, run.state, RunState::Cancelled);
  putRun(before ? update_run_ : run_, run);
  runs_.note(run.id.uuid, run.state);
}

void SqliteWriter::put(const AttemptRecord& attempt) {
  const Uuid& id = attempt.ref.attempt.uuid;
  std::optional<AttemptState> before = attempts_.find(id);
  if (!before) before = storedState(attempt_state_, id, parseAttemptState);
  checkTransition("attempt", id, before, attempt.state, AttemptState::Ended);
  const int changed = before ? putAttempt(update_attempt_, attempt)
                             : putNewAttempt(attempt_, attempt, attempt_rows_.next(attempt.host));
  if (changed != 1) {
    const std::string why =
        "attempt " + id.str() + " changes its vm, epoch, host, request, reason or time of request";
    checkFailed("an attempt keeps its identity", __FILE__, __LINE__, why.c_str());
  }
  attempts_.note(id, attempt.state);
}

void SqliteWriter::put(const HostRecord& host) { putHost(host_, host); }
void SqliteWriter::put(const TokenRecord& token) { putToken(token_, token); }

}  // namespace vms::runner
