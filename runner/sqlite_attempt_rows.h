#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <cstdint>
#include <unordered_map>

#include "schema/ids.h"

namespace vms::runner {

/// Numbers the rows of new attempts. SQLite keeps rows in the order of their numbers, and history
/// is asked by host: so each host has a range of numbers of its own, and its attempts lie together
/// in the order in which they came. Numbers mean nothing else, and rows with others are as good.
///
/// Of one thread at a time, inside a transaction of the caller. A number whose transaction fails is
/// left out.
class AttemptRows {
 public:
  /// `connection` outlives this, and nobody else adds attempts.
  explicit AttemptRows(SQLite::Database& connection);

  std::int64_t next(const HostId& host);

  /// Of a host's name; a few hosts may share one. 1 to 65535, for 0 has the rows of old releases.
  static std::uint16_t rangeOf(const HostId& host) noexcept;

 private:
  std::int64_t firstFree(std::int64_t begin, std::int64_t end);

  SQLite::Statement last_;
  std::unordered_map<std::uint16_t, std::int64_t> next_;
};

}  // namespace vms::runner
