#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runner/history_cursor.h"
#include "runner/store.h"
#include "schema/base/sqlite_rows.h"

namespace vms::runner {

/// Which attempts a query selects, as SQL whose values are bound, never written into the text. One
/// index finds them in the order of a page, whatever is combined: nothing is sorted.
class HistorySelection {
 public:
  /// `query.vm_name` alone does not choose an index: give `query.vm` with it, or a request.
  HistorySelection(const HistoryQuery& query, const std::optional<HistoryCursor>& cursor);

  /// "SELECT `columns` ..." of what is selected, newest first; the last parameter, after those of
  /// bind(), is the most rows.
  std::string pageSql(const std::string& columns) const;
  /// The same in no order.
  std::string countSql(const std::string& columns) const;
  /// The selection outlives the run of the statement.
  void bind(Binder& binder) const;

 private:
  void add(const std::string& condition);
  void id(const std::string& condition, const Uuid& value);
  void text(const std::string& condition, const std::string& value);
  void number(const std::string& condition, std::int64_t value);

  std::string from_, where_;
  std::vector<Uuid> ids_;
  std::vector<std::string> texts_;
  std::vector<std::int64_t> numbers_;
  std::string order_;  ///< Which of the three each parameter is: 'i', 't' or 'n'.
};

}  // namespace vms::runner
