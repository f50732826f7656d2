#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// The tables of the engine's store as text.
namespace vms::runner {

/// What the file is called in messages, and the number that tells it from other databases.
inline constexpr std::string_view kStoreKind = "engine store";
inline constexpr std::uint32_t kStoreApplicationId = 0x564d5345;  // "VMSE"

/// One table whose rows are upserted whole.
struct TableText {
  std::string_view name;
  std::string_view key;      ///< Columns of the primary key.
  std::string_view columns;  ///< In the order in which they are bound and read.
  std::string_view fixed;    ///< Columns, besides the key, that an update never changes.
  std::string_view guard;    ///< Condition of an update; when it fails, no row is changed. Of the
                             ///< columns, those that are to be written begin with "excluded.".
};

extern const TableText kVmTable;
extern const TableText kVmDefinitionTable;
extern const TableText kRequestTable;
extern const TableText kItemTable;
extern const TableText kRunTable;
extern const TableText kAttemptTable;
extern const TableText kHostTable;
extern const TableText kTokenTable;

/// Conditions of the rows that are open, as the indexes of them have it.
inline constexpr std::string_view kOpenRun =
    "state <> 'succeeded' AND state <> 'failed' AND state <> 'cancelled'";
inline constexpr std::string_view kOpenAttempt =
    "state <> 'dropped' AND state <> 'refused' AND state <> 'failed' AND state <> 'ended'";

/// "INSERT INTO ... ON CONFLICT ... DO UPDATE ...", a parameter for each column.
std::string upsertSql(const TableText& table);
/// The same with one more parameter at the end: the number (rowid) of the row, if it is new.
std::string numberedUpsertSql(const TableText& table);
/// "UPDATE ... WHERE key AND guard", with the same parameters: cheaper for a row that is there.
std::string updateSql(const TableText& table);
/// The columns, each as `alias.column` if an alias is given.
std::string selectList(const TableText& table, std::string_view alias = {});

}  // namespace vms::runner
