#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vms {

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;
inline constexpr std::uint64_t kTiB = 1024 * kGiB;

/// "4096B", "64KiB", "512MiB", "4GiB", "1TiB" to bytes. Whole numbers only; a bare number, another
/// unit or more than 2^63 - 1 bytes is refused.
std::optional<std::uint64_t> parseMemorySize(std::string_view text);
/// The shortest of the forms above that is exact.
std::string formatMemorySize(std::uint64_t bytes);
/// For people: rounded down to a tenth of the largest unit that fits, "8.4GiB".
std::string roundMemorySize(std::uint64_t bytes);

}  // namespace vms
