#include "runner/sqlite_writer.h"

#include <optional>
#include <string>
#include <string_view>
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

template <class State>
void checkTransition(std::string_view what, const Uuid& id, std::optional<State> from, State to,
                     State last) {
  if (!from || *from == to || mayFold(*from, to, last)) return;
  std::string why(what);
  why.append(" ").append(id.str()).append(" cannot go from ").append(nameOf(*from));
  why.append(" to ").append(nameOf(to));
  checkFailed("mayFollow(from, to)", __FILE__, __LINE__, why.c_str());
}

}  // namespace

SqliteWriter::SqliteWriter(SQLite::Database& connection)
    : vm_(connection, upsertSql(kVmTable)),
      same_definition_(connection,
                       "SELECT 1 FROM vm_definitions WHERE vm = ? AND name = ? AND "
                       "domain_type = ? AND memory = ? AND vcpus = ? AND xml = ?"),
      definition_(connection, upsertSql(kVmDefinitionTable)),
      vm_name_(connection, "INSERT OR IGNORE INTO vm_names (name, vm) VALUES (?, ?)"),
      request_(connection, upsertSql(kRequestTable)),
      item_(connection, upsertSql(kItemTable)),
      run_(connection, upsertSql(kRunTable)),
      run_state_(connection, "SELECT state FROM runs WHERE id = ?"),
      attempt_(connection, upsertSql(kAttemptTable)),
      attempt_state_(connection, "SELECT state FROM attempts WHERE id = ?"),
      host_(connection, upsertSql(kHostTable)),
      token_(connection, upsertSql(kTokenTable)) {}

void SqliteWriter::put(const Change& change) {
  std::visit([this](const auto& record) { put(record); }, change);
}

void SqliteWriter::committed() {
  runs_.committed();
  attempts_.committed();
}

void SqliteWriter::rolledBack() {
  runs_.rolledBack();
  attempts_.rolledBack();
}

void SqliteWriter::put(const VmRecord& vm) {
  if (putVm(vm_, vm) != 1) {
    const std::string why =
        "the epoch of vm " + vm.spec.id.str() + " goes back to " + std::to_string(vm.epoch.value);
    checkFailed("epochs never go back", __FILE__, __LINE__, why.c_str());
  }
  // Definitions are large and most changes of a VM are of its epoch.
  Binder same(same_definition_);
  same << vm.spec.id.uuid << vm.spec.name << vm.spec.domain_type << vm.spec.memory << vm.spec.vcpus
       << vm.xml;
  if (same.step()) {
    same_definition_.reset();
    return;
  }
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
  putRun(run_, run);
  runs_.note(run.id.uuid, run.state);
}

void SqliteWriter::put(const AttemptRecord& attempt) {
  const Uuid& id = attempt.ref.attempt.uuid;
  std::optional<AttemptState> before = attempts_.find(id);
  if (!before) before = storedState(attempt_state_, id, parseAttemptState);
  checkTransition("attempt", id, before, attempt.state, AttemptState::Ended);
  if (putAttempt(attempt_, attempt) != 1) {
    const std::string why =
        "attempt " + id.str() + " changes its vm, epoch, host, request, reason or time of request";
    checkFailed("an attempt keeps its identity", __FILE__, __LINE__, why.c_str());
  }
  attempts_.note(id, attempt.state);
}

void SqliteWriter::put(const HostRecord& host) { putHost(host_, host); }
void SqliteWriter::put(const TokenRecord& token) { putToken(token_, token); }

}  // namespace vms::runner
