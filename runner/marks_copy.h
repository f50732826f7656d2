#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "runner/store.h"
#include "schema/base/error.h"

namespace vms::runner {

/// What the file beside the database remembers of its marks. It may lag behind, but never runs
/// ahead of what is durable; so a copy that knows more than the database means that the database is
/// an old one that was put back (S8).
struct MarksCopy {
  StoreId store_id;
  Term term;
  CommitNumber commit;

  static MarksCopy of(const Marks& marks) { return {marks.store_id, marks.term, marks.commit}; }
  bool operator==(const MarksCopy&) const = default;
};

/// Nothing: there is no copy, or it cannot be understood (which is logged): it proves nothing then.
std::optional<MarksCopy> readMarksCopy(const std::filesystem::path& path);
/// Replaces the copy at once or not at all. Blocking.
Result<void> writeMarksCopy(const std::filesystem::path& path, const MarksCopy& copy);

/// The copy has seen more than `stored`, or another store.
bool knowsMore(const MarksCopy& copy, const Marks& stored);

/// The marks under which an engine starts on a database with `stored` marks: the term grows, and
/// the counters resume above what the copy knows. `restored` once the copy knows more, or another
/// store; it stays until an operator clears it.
Marks marksOfStart(const Marks& stored, const std::optional<MarksCopy>& copy);

}  // namespace vms::runner
