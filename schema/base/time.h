#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vms {

using Duration = std::chrono::nanoseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// A point on one machine's interval clock (it counts through suspend and never goes back).
/// Meaningless on another machine or after a restart: never stored, never sent (S25).
struct TimePoint {
  Duration since_start{};

  auto operator<=>(const TimePoint&) const = default;
  friend TimePoint operator+(TimePoint t, Duration d) { return {t.since_start + d}; }
  friend TimePoint operator-(TimePoint t, Duration d) { return {t.since_start - d}; }
  friend Duration operator-(TimePoint a, TimePoint b) { return a.since_start - b.since_start; }
  static constexpr TimePoint max() { return {Duration::max()}; }
};

/// Calendar time in UTC with millisecond precision, for people and history only: it may jump.
struct WallTime {
  std::int64_t unix_ms = 0;

  auto operator<=>(const WallTime&) const = default;
  friend WallTime operator+(WallTime t, Duration d) {
    return {t.unix_ms + std::chrono::duration_cast<milliseconds>(d).count()};
  }
  friend WallTime operator-(WallTime t, Duration d) { return t + (-d); }
  friend Duration operator-(WallTime a, WallTime b) { return milliseconds(a.unix_ms - b.unix_ms); }
};

/// RFC 3339 in UTC with milliseconds: 2026-11-20T08:15:00.123Z.
std::string formatRfc3339(WallTime time);
/// Accepts RFC 3339 with any offset and zero to nine fraction digits.
std::optional<WallTime> parseRfc3339(std::string_view text);

/// "250ms", "30s", "5m", "2h", "7d"; a bare number is refused. Nothing else parses.
std::optional<Duration> parseDuration(std::string_view text);
/// The shortest of the forms above that is exact to the millisecond.
std::string formatDuration(Duration duration);

inline std::int64_t toMs(Duration d) { return std::chrono::duration_cast<milliseconds>(d).count(); }

}  // namespace vms
