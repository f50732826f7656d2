#include "hostagent/sqlite_journal_rows.h"

#include <array>
#include <optional>
#include <string_view>
#include <variant>

#include "schema/base/sqlite_rows.h"

namespace vms::hostagent {
namespace {

constexpr std::array<std::string_view, 4> kPhases = {"claimed", "building", "published", "gone"};
static_assert(static_cast<std::size_t>(ClaimPhase::Gone) + 1 == kPhases.size());

std::string_view nameOf(ClaimPhase phase) { return kPhases[static_cast<std::size_t>(phase)]; }

std::optional<ClaimPhase> parsePhase(std::string_view name) noexcept {
  for (std::size_t i = 0; i < kPhases.size(); ++i) {
    if (kPhases[i] == name) return static_cast<ClaimPhase>(i);
  }
  return std::nullopt;
}

constexpr const char* kPutClaim =
    "INSERT INTO claims (attempt, vm, epoch, host, boot_id, term, want_paused, phase, name, "
    "memory, vcpus, cancel_wished, ended_after_start, error_class, error, stop_reason, "
    "started_acked, end_acked, acked_commit, claimed_at, build_started_at, built_at, running_at, "
    "ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (attempt) DO UPDATE SET vm = excluded.vm, epoch = excluded.epoch, "
    "host = excluded.host, boot_id = excluded.boot_id, term = excluded.term, "
    "want_paused = excluded.want_paused, phase = excluded.phase, name = excluded.name, "
    "memory = excluded.memory, vcpus = excluded.vcpus, cancel_wished = excluded.cancel_wished, "
    "ended_after_start = excluded.ended_after_start, error_class = excluded.error_class, "
    "error = excluded.error, stop_reason = excluded.stop_reason, "
    "started_acked = excluded.started_acked, end_acked = excluded.end_acked, "
    "acked_commit = excluded.acked_commit, claimed_at = excluded.claimed_at, "
    "build_started_at = excluded.build_started_at, built_at = excluded.built_at, "
    "running_at = excluded.running_at, ended_at = excluded.ended_at";

constexpr const char* kReadClaims =
    "SELECT c.attempt, vm, epoch, host, boot_id, term, want_paused, phase, name, memory, vcpus, "
    "cancel_wished, ended_after_start, error_class, error, stop_reason, started_acked, end_acked, "
    "acked_commit, claimed_at, build_started_at, built_at, running_at, ended_at, "
    "coalesce(d.xml, '') FROM claims c LEFT JOIN claim_documents d ON d.attempt = c.attempt "
    "ORDER BY c.attempt";

ClaimRecord readClaim(SQLite::Statement& row) {
  ClaimRecord record;
  RowReader reader(row);
  reader >> record.claim.ref.attempt.uuid >> record.claim.ref.vm.uuid >>
      record.claim.ref.epoch.value >> record.claim.host >> record.claim.boot_id >>
      record.claim.term.value >> record.claim.want_paused;
  reader.name(record.phase, parsePhase);
  reader >> record.name >> record.memory >> record.vcpus >> record.cancel_wished >>
      record.ended_after_start >> record.error_class >> record.error >> record.stop_reason >>
      record.started_acked >> record.end_acked >> record.acked_commit >> record.claimed_at >>
      record.build_started_at >> record.built_at >> record.running_at >> record.ended_at >>
      record.xml;
  return record;
}

}  // namespace

JournalWriter::JournalWriter(SQLite::Database& connection)
    : claim_(connection, kPutClaim),
      // Most changes of a claim leave its document alone, and it is large.
      document_(connection,
                "INSERT INTO claim_documents (attempt, xml) VALUES (?, ?) ON CONFLICT (attempt) "
                "DO UPDATE SET xml = excluded.xml WHERE claim_documents.xml <> excluded.xml"),
      drop_claim_(connection, "DELETE FROM claims WHERE attempt = ?"),
      drop_document_(connection, "DELETE FROM claim_documents WHERE attempt = ?"),
      floor_(connection,
             "INSERT INTO epoch_floors (vm, epoch) VALUES (?, ?) ON CONFLICT (vm) DO UPDATE SET "
             "epoch = excluded.epoch WHERE excluded.epoch > epoch_floors.epoch"),
      drop_floor_(connection, "DELETE FROM epoch_floors WHERE vm = ?"),
      marks_(connection,
             "UPDATE marks SET store_id = CAST(? AS BLOB), term = ?, start = ?, commit_number = ?, "
             "boot_id = ?, hypervisor_uri = ?, hypervisor_host_uuid = ? WHERE id = 1") {}

void JournalWriter::put(const JournalChange& change) {
  std::visit([this](const auto& one) { put(one); }, change);
}

void JournalWriter::put(const PutClaim& change) {
  const ClaimRecord& record = change.record;
  const Uuid& attempt = record.claim.ref.attempt.uuid;
  Binder claim(claim_);
  claim << attempt << record.claim.ref.vm.uuid << record.claim.ref.epoch.value << record.claim.host
        << record.claim.boot_id << record.claim.term.value << record.claim.want_paused
        << nameOf(record.phase) << record.name << record.memory << record.vcpus
        << record.cancel_wished << record.ended_after_start << record.error_class << record.error
        << record.stop_reason << record.started_acked << record.end_acked << record.acked_commit
        << record.claimed_at << record.build_started_at << record.built_at << record.running_at
        << record.ended_at;
  claim.run();
  Binder document(record.xml.empty() ? drop_document_ : document_);
  document << attempt;
  if (!record.xml.empty()) document << record.xml;
  document.run();
}

void JournalWriter::put(const DropClaim& change) {
  for (SQLite::Statement* const statement : {&drop_claim_, &drop_document_}) {
    Binder binder(*statement);
    binder << change.attempt.uuid;
    binder.run();
  }
}

void JournalWriter::put(const PutFloor& change) {
  Binder binder(floor_);
  binder << change.floor.vm.uuid << change.floor.epoch.value;
  binder.run();
}

void JournalWriter::put(const DropFloor& change) {
  Binder binder(drop_floor_);
  binder << change.vm.uuid;
  binder.run();
}

void JournalWriter::put(const PutMarks& change) {
  const JournalMarks& marks = change.marks;
  Binder binder(marks_);
  binder << marks.store_id << marks.term << marks.start.uuid << marks.commit << marks.boot_id
         << marks.hypervisor_uri << marks.hypervisor_host_uuid;
  binder.run();
}

JournalContents readJournal(SQLite::Database& connection) {
  JournalContents contents;
  SQLite::Statement claims(connection, kReadClaims);
  while (claims.executeStep()) contents.claims.push_back(readClaim(claims));
  SQLite::Statement floors(connection, "SELECT vm, epoch FROM epoch_floors ORDER BY vm");
  while (floors.executeStep()) {
    EpochFloor& floor = contents.floors.emplace_back();
    RowReader(floors) >> floor.vm.uuid >> floor.epoch.value;
  }
  SQLite::Statement marks(connection,
                          "SELECT store_id, term, start, commit_number, boot_id, hypervisor_uri, "
                          "hypervisor_host_uuid FROM marks WHERE id = 1");
  if (!marks.executeStep()) throw SQLite::Exception("it has no marks", SQLITE_CORRUPT);
  RowReader(marks) >> contents.marks.store_id >> contents.marks.term >> contents.marks.start.uuid >>
      contents.marks.commit >> contents.marks.boot_id >> contents.marks.hypervisor_uri >>
      contents.marks.hypervisor_host_uuid;
  return contents;
}

}  // namespace vms::hostagent
