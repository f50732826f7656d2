#include "runner/sqlite_load.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <tuple>
#include <unordered_set>
#include <utility>
#include <vector>

#include "runner/sqlite_records.h"
#include "schema/base/sqlite_rows.h"

namespace vms::runner {
namespace {

std::string selectFrom(const TableText& table, const std::string& rest) {
  return "SELECT " + selectList(table) + " FROM " + std::string(table.name) + " " + rest;
}

template <class Record>
void readAll(SQLite::Statement& statement, Record (*read)(SQLite::Statement&),
             std::vector<Record>& into) {
  while (statement.executeStep()) into.push_back(read(statement));
  statement.reset();
}

void loadVms(SQLite::Database& connection, Snapshot& snapshot) {
  SQLite::Statement statement(connection, "SELECT " + selectList(kVmTable, "v") + ", " +
                                              selectList(kVmDefinitionTable, "d") +
                                              " FROM vms v JOIN vm_definitions d ON d.vm = v.id "
                                              "ORDER BY v.id");
  readAll(statement, readVm, snapshot.vms);
}

void loadRequests(SQLite::Database& connection, WallTime now, Snapshot& snapshot) {
  SQLite::Statement open(connection,
                         selectFrom(kRequestTable, "WHERE finished_at IS NULL ORDER BY id"));
  readAll(open, readRequest, snapshot.requests);

  const WallTime oldest = now - std::chrono::hours(24);
  SQLite::Statement finished(
      connection, selectFrom(kRequestTable, "WHERE finished_at >= ? ORDER BY finished_at DESC"));
  Binder binder(finished);
  binder << oldest;
  std::uint64_t items = 0;
  while (binder.step()) {
    RequestRecord request = readRequest(finished);
    items += request.total;
    if (items > kLoadedItems) break;
    snapshot.requests.push_back(std::move(request));
  }
}

void loadItemsAndRuns(SQLite::Database& connection, Snapshot& snapshot) {
  std::unordered_set<RunId> known;
  SQLite::Statement items(connection,
                          selectFrom(kItemTable, "WHERE request = ? ORDER BY position"));
  SQLite::Statement run(connection, selectFrom(kRunTable, "WHERE id = ?"));
  for (const RequestRecord& request : snapshot.requests) {
    Binder items_of(items);
    items_of << request.id.uuid;
    while (items_of.step()) {
      const ItemRecord item = readItem(items);
      snapshot.items.push_back(item);
      if (!known.insert(item.run).second) continue;
      Binder run_of(run);
      run_of << item.run.uuid;
      if (run_of.step()) snapshot.runs.push_back(readRun(run));
      run.reset();
    }
  }
  SQLite::Statement open(connection, selectFrom(kRunTable, "WHERE " + std::string(kOpenRun)));
  while (open.executeStep()) {
    RunRecord record = readRun(open);
    if (known.insert(record.id).second) snapshot.runs.push_back(std::move(record));
  }
}

/// Every host that has an attempt: one look-up in the index for each.
std::vector<HostId> hostsOfAttempts(SQLite::Database& connection) {
  SQLite::Statement next(connection, "SELECT min(host) FROM attempts WHERE host > ?");
  std::vector<HostId> hosts;
  std::string after;
  for (;;) {
    Binder binder(next);
    binder << after;
    if (!binder.step() || next.isColumnNull(0)) return hosts;
    RowReader(next) >> after;
    hosts.push_back(after);
  }
}

void loadAttempts(SQLite::Database& connection, Snapshot& snapshot) {
  SQLite::Statement open(connection,
                         selectFrom(kAttemptTable, "WHERE " + std::string(kOpenAttempt)));
  readAll(open, readAttempt, snapshot.attempts);

  SQLite::Statement newest(
      connection, selectFrom(kAttemptTable, "INDEXED BY attempts_by_host WHERE host = ? AND NOT (" +
                                                std::string(kOpenAttempt) +
                                                ") ORDER BY requested_at DESC, id DESC LIMIT ?"));
  for (const HostId& host : hostsOfAttempts(connection)) {
    Binder binder(newest);
    binder << host << kLoadedPerHost;
    while (binder.step()) snapshot.attempts.push_back(readAttempt(newest));
  }
  std::sort(snapshot.attempts.begin(), snapshot.attempts.end(),
            [](const AttemptRecord& a, const AttemptRecord& b) {
              return std::tie(a.placed_at, a.ref.attempt) < std::tie(b.placed_at, b.ref.attempt);
            });
}

}  // namespace

Snapshot loadSnapshot(SQLite::Database& connection, WallTime now) {
  Snapshot snapshot;
  SQLite::Statement terms(connection, "SELECT term, commit_before, start FROM terms ORDER BY term");
  while (terms.executeStep()) {
    Term term;
    TermStart start;
    RowReader(terms) >> term.value >> start.before.value >> start.id.uuid;
    snapshot.terms.emplace(term, start);
  }
  loadVms(connection, snapshot);
  loadRequests(connection, now, snapshot);
  loadItemsAndRuns(connection, snapshot);
  loadAttempts(connection, snapshot);
  SQLite::Statement hosts(connection, selectFrom(kHostTable, "ORDER BY id"));
  readAll(hosts, readHost, snapshot.hosts);
  SQLite::Statement tokens(connection, selectFrom(kTokenTable, "ORDER BY id"));
  readAll(tokens, readToken, snapshot.tokens);
  return snapshot;
}

}  // namespace vms::runner
