#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "schema/base/rng.h"
#include "schema/base/time.h"

namespace vms {

/// 128 bits in network order. All zero (nil) means "none".
struct Uuid {
  std::array<std::uint8_t, 16> bytes{};

  bool operator==(const Uuid&) const = default;
  /// The order of the bytes, in two steps instead of sixteen: ids are keys of every index.
  std::strong_ordering operator<=>(const Uuid& other) const noexcept {
    const auto order = half(0) <=> other.half(0);
    return order != 0 ? order : half(8) <=> other.half(8);
  }

  bool isNil() const noexcept { return *this == Uuid{}; }
  /// Lower-case canonical form: 8-4-4-4-12 hexadecimal digits.
  std::string str() const;
  /// The 16 bytes as they travel in messages and lie in the database.
  std::string toBytes() const;

  /// Accepts the canonical form only, in either case; no braces, no prefix, no blanks.
  static std::optional<Uuid> parse(std::string_view text) noexcept;
  /// Accepts exactly 16 bytes.
  static std::optional<Uuid> fromBytes(std::string_view raw) noexcept;

 private:
  std::uint64_t half(std::size_t at) const noexcept {
    std::uint64_t value = 0;
    for (std::size_t i = at; i < at + 8; ++i) value = value << 8U | bytes[i];
    return value;
  }
};

/// Version 7: begins with `now`, so that ids made later sort later to the millisecond; the rest is
/// random. Unique, not secret.
Uuid makeUuidV7(WallTime now, Rng& rng);

}  // namespace vms

template <>
struct std::hash<vms::Uuid> {
  std::size_t operator()(const vms::Uuid& uuid) const noexcept;
};
