#include "schema/base/memory_size.h"

#include <array>
#include <charconv>
#include <limits>

namespace vms {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t bytes;
};

// Largest first: how formatMemorySize finds the shortest exact form.
constexpr std::array kUnits = {Unit{"TiB", kTiB}, Unit{"GiB", kGiB}, Unit{"MiB", kMiB},
                               Unit{"KiB", kKiB}, Unit{"B", 1}};

}  // namespace

std::optional<std::uint64_t> parseMemorySize(std::string_view text) {
  std::uint64_t count = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, count);
  if (error != std::errc{}) return std::nullopt;
  const std::string_view name(rest, static_cast<std::size_t>(end - rest));
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  for (const Unit& unit : kUnits) {
    if (unit.name != name) continue;
    if (count > kMax / unit.bytes) return std::nullopt;
    return count * unit.bytes;
  }
  return std::nullopt;
}

std::string formatMemorySize(std::uint64_t bytes) {
  for (const Unit& unit : kUnits) {
    if (bytes != 0 && bytes % unit.bytes == 0) {
      return std::to_string(bytes / unit.bytes) + std::string(unit.name);
    }
  }
  return "0B";
}

std::string roundMemorySize(std::uint64_t bytes) {
  for (const Unit& unit : kUnits) {
    if (bytes < unit.bytes) continue;
    const std::uint64_t tenths = bytes % unit.bytes * 10 / unit.bytes;
    std::string text = std::to_string(bytes / unit.bytes);
    if (tenths != 0) text += "." + std::to_string(tenths);
    return text + std::string(unit.name);
  }
  return "0B";
}

}  // namespace vms
