#include "runner/sqlite_tables.h"

#include <cctype>
#include <cstddef>
#include <vector>

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
const TableText kHostTable{
    "hosts", "id",
    "id, hardware_uuid, boot_id, retired_boots, foreign_vms, moved_vms, "
    "hypervisor_uri, hypervisor_host_uuid, cpus, memory, agent_version, draining, "
    "confirmed, alarm, forgotten_by, first_seen, last_seen",
    "", ""};
const TableText kTokenTable{"tokens", "id",
                            "id, hash, role, name, created_at, expires_at, revoked_at", "", ""};

namespace {

std::vector<std::string_view> splitColumns(std::string_view columns) {
  std::vector<std::string_view> names;
  while (!columns.empty()) {
    const std::size_t comma = columns.find(", ");
    names.push_back(columns.substr(0, comma));
    columns = comma == std::string_view::npos ? std::string_view() : columns.substr(comma + 2);
  }
  return names;
}

/// Replaces `word` where it is not the beginning of a longer one.
void replaceWord(std::string& text, const std::string& word, const std::string& by) {
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at)) {
    const std::size_t end = at + word.size();
    if (end < text.size() &&
        (std::isalnum(static_cast<unsigned char>(text[end])) != 0 || text[end] == '_')) {
      at = end;
      continue;
    }
    text.replace(at, word.size(), by);
    at += by.size();
  }
}

bool contains(const std::vector<std::string_view>& names, std::string_view name) {
  for (const std::string_view one : names) {
    if (one == name) return true;
  }
  return false;
}

std::string upsertSql(const TableText& table, bool numbered) {
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
  sql.append(table.name).append(" (").append(table.columns).append(numbered ? ", rowid" : "");
  sql.append(") VALUES (")
      .append(parameters)
      .append(numbered ? ", ?" : "")
      .append(") ON CONFLICT (")
      .append(table.key);
  sql.append(") DO UPDATE SET ").append(updates);
  if (!table.guard.empty()) sql.append(" WHERE ").append(table.guard);
  return sql;
}

}  // namespace

std::string upsertSql(const TableText& table) { return upsertSql(table, false); }
std::string numberedUpsertSql(const TableText& table) { return upsertSql(table, true); }

std::string updateSql(const TableText& table) {
  const auto columns = splitColumns(table.columns);
  const auto key = splitColumns(table.key);
  const auto fixed = splitColumns(table.fixed);
  std::string updates;
  std::string condition;
  std::string guard(table.guard);
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const std::string column(columns[i]);
    const std::string parameter = "?" + std::to_string(i + 1);
    replaceWord(guard, "excluded." + column, parameter);
    if (contains(key, column)) {
      condition.append(condition.empty() ? "" : " AND ")
          .append(column)
          .append(" = ")
          .append(parameter);
    } else if (!contains(fixed, column)) {
      updates.append(updates.empty() ? "" : ", ").append(column).append(" = ").append(parameter);
    }
  }
  std::string sql = "UPDATE ";
  sql.append(table.name).append(" SET ").append(updates).append(" WHERE ").append(condition);
  if (!guard.empty()) sql.append(" AND ").append(guard);
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

}  // namespace vms::runner
