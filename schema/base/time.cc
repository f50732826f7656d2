#include "schema/base/time.h"

#include <array>
#include <charconv>
#include <cstdio>
#include <limits>

namespace vms {
namespace {

/// Takes exactly `digits` decimal digits from the front of `text`.
std::optional<int> takeDigits(std::string_view& text, std::size_t digits) {
  if (text.size() < digits) return std::nullopt;
  int value = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    const char c = text[i];
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  text.remove_prefix(digits);
  return value;
}

bool takeChar(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

struct Unit {
  std::string_view name;
  std::int64_t ms;
};

// Longest first: how formatDuration finds the shortest exact form.
constexpr std::array kUnits = {Unit{"d", 86'400'000}, Unit{"h", 3'600'000}, Unit{"m", 60'000},
                               Unit{"s", 1'000}, Unit{"ms", 1}};

}  // namespace

std::string formatRfc3339(WallTime time) {
  using namespace std::chrono;
  const sys_time<milliseconds> point{milliseconds(time.unix_ms)};
  const auto day = floor<days>(point);
  const year_month_day date{day};
  const hh_mm_ss<milliseconds> clock{point - day};
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", int{date.year()},
                unsigned{date.month()}, unsigned{date.day()},
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()),
                static_cast<int>(clock.subseconds().count()));
  return text;
}

std::optional<WallTime> parseRfc3339(std::string_view text) {
  using namespace std::chrono;
  const auto y = takeDigits(text, 4);
  if (!y || !takeChar(text, "-")) return std::nullopt;
  const auto mon = takeDigits(text, 2);
  if (!mon || !takeChar(text, "-")) return std::nullopt;
  const auto d = takeDigits(text, 2);
  if (!d || !takeChar(text, "Tt ")) return std::nullopt;
  const auto h = takeDigits(text, 2);
  if (!h || !takeChar(text, ":")) return std::nullopt;
  const auto min = takeDigits(text, 2);
  if (!min || !takeChar(text, ":")) return std::nullopt;
  const auto s = takeDigits(text, 2);
  if (!s) return std::nullopt;

  std::int64_t ms = 0;
  if (takeChar(text, ".")) {
    std::size_t digits = 0;
    for (int scale = 100; !text.empty() && text.front() >= '0' && text.front() <= '9';
         scale /= 10) {
      if (++digits > 9) return std::nullopt;
      ms += (text.front() - '0') * scale;
      text.remove_prefix(1);
    }
    if (digits == 0) return std::nullopt;
  }

  std::int64_t offset_minutes = 0;
  if (!takeChar(text, "Zz")) {
    const bool behind = !text.empty() && text.front() == '-';
    if (!takeChar(text, "+-")) return std::nullopt;
    const auto offset_h = takeDigits(text, 2);
    if (!offset_h || !takeChar(text, ":")) return std::nullopt;
    const auto offset_m = takeDigits(text, 2);
    if (!offset_m || *offset_h > 23 || *offset_m > 59) return std::nullopt;
    offset_minutes = (*offset_h * 60 + *offset_m) * (behind ? -1 : 1);
  }
  if (!text.empty()) return std::nullopt;

  const year_month_day date{year{*y}, month{static_cast<unsigned>(*mon)},
                            day{static_cast<unsigned>(*d)}};
  // A leap second (60) is counted as the first moment of the next minute.
  if (!date.ok() || *h > 23 || *min > 59 || *s > 60) return std::nullopt;
  const std::int64_t days_since_epoch = sys_days{date}.time_since_epoch().count();
  const std::int64_t total_s =
      days_since_epoch * 86'400 + *h * 3'600 + *min * 60 + *s - offset_minutes * 60;
  return WallTime{total_s * 1'000 + ms};
}

std::optional<Duration> parseDuration(std::string_view text) {
  std::int64_t count = 0;
  const char* const end = text.data() + text.size();
  if (text.empty() || text.front() == '-') return std::nullopt;
  const auto [rest, error] = std::from_chars(text.data(), end, count);
  if (error != std::errc{}) return std::nullopt;
  const std::string_view name(rest, static_cast<std::size_t>(end - rest));
  for (const Unit& unit : kUnits) {
    if (unit.name != name) continue;
    const std::int64_t max_ms = toMs(Duration::max());
    if (count > max_ms / unit.ms) return std::nullopt;
    return milliseconds(count * unit.ms);
  }
  return std::nullopt;
}

std::string formatDuration(Duration duration) {
  const std::int64_t ms = toMs(duration);
  if (ms == 0) return "0s";
  for (const Unit& unit : kUnits) {
    if (ms % unit.ms == 0) return std::to_string(ms / unit.ms) + std::string(unit.name);
  }
  return std::to_string(ms) + "ms";
}

}  // namespace vms
