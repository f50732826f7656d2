#include "runner/sqlite_attempt_rows.h"

#include "schema/base/sqlite_rows.h"

namespace vms::runner {
namespace {

/// 31 bits for the attempts of a range: with the range, a number fits the 6 bytes that SQLite has
/// for it in each entry of an index.
constexpr unsigned kAttemptBits = 31;

}  // namespace

AttemptRows::AttemptRows(SQLite::Database& connection)
    : last_(connection,
            "SELECT rowid FROM attempts WHERE rowid >= ? AND rowid < ? ORDER BY rowid DESC LIMIT "
            "1") {}

std::int64_t AttemptRows::next(const HostId& host) {
  const std::uint16_t range = rangeOf(host);
  const auto known = next_.find(range);
  if (known != next_.end()) return known->second++;
  const std::int64_t begin = std::int64_t{range} << kAttemptBits;
  const std::int64_t number = firstFree(begin, begin + (std::int64_t{1} << kAttemptBits));
  next_.emplace(range, number + 1);
  return number;
}

std::int64_t AttemptRows::firstFree(std::int64_t begin, std::int64_t end) {
  Binder binder(last_);
  binder << begin << end;
  if (!binder.step()) return begin;
  std::int64_t last = 0;
  RowReader(last_) >> last;
  last_.reset();
  return last + 1;
}

std::uint16_t AttemptRows::rangeOf(const HostId& host) noexcept {
  std::uint32_t hash = 2166136261U;  // FNV-1a.
  for (const char byte : host) hash = (hash ^ static_cast<std::uint8_t>(byte)) * 16777619U;
  return static_cast<std::uint16_t>(1 + hash % 0xffffU);
}

}  // namespace vms::runner
