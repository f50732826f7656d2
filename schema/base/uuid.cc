#include "schema/base/uuid.h"

#include <cstring>

namespace vms {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";
constexpr std::size_t kTextSize = 36;

constexpr bool isDashAt(std::size_t i) { return i == 8 || i == 13 || i == 18 || i == 23; }

/// The value of a hexadecimal digit, or -1.
int hexValue(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string Uuid::str() const {
  std::string text;
  text.reserve(kTextSize);
  for (const std::uint8_t byte : bytes) {
    if (isDashAt(text.size())) text += '-';
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

std::string Uuid::toBytes() const { return {bytes.begin(), bytes.end()}; }

std::optional<Uuid> Uuid::parse(std::string_view text) noexcept {
  if (text.size() != kTextSize) return std::nullopt;
  Uuid uuid;
  std::size_t nibble = 0;
  for (std::size_t i = 0; i < kTextSize; ++i) {
    if (isDashAt(i)) {
      if (text[i] != '-') return std::nullopt;
      continue;
    }
    const int value = hexValue(text[i]);
    if (value < 0) return std::nullopt;
    std::uint8_t& byte = uuid.bytes[nibble / 2];
    byte = static_cast<std::uint8_t>((byte << 4U) | value);
    ++nibble;
  }
  return uuid;
}

std::optional<Uuid> Uuid::fromBytes(std::string_view raw) noexcept {
  Uuid uuid;
  if (raw.size() != uuid.bytes.size()) return std::nullopt;
  std::memcpy(uuid.bytes.data(), raw.data(), raw.size());
  return uuid;
}

Uuid makeUuidV7(WallTime now, Rng& rng) {
  Uuid uuid;
  const auto ms = static_cast<std::uint64_t>(now.unix_ms);
  for (std::size_t i = 0; i < 6; ++i) {
    uuid.bytes[i] = static_cast<std::uint8_t>(ms >> (40U - 8U * i));
  }
  const std::uint64_t high = rng.next();
  const std::uint64_t low = rng.next();
  uuid.bytes[6] = static_cast<std::uint8_t>(0x70U | (high & 0x0fU));
  uuid.bytes[7] = static_cast<std::uint8_t>(high >> 8U);
  for (std::size_t i = 0; i < 8; ++i) {
    uuid.bytes[8 + i] = static_cast<std::uint8_t>(low >> (8U * i));
  }
  uuid.bytes[8] = static_cast<std::uint8_t>(0x80U | (uuid.bytes[8] & 0x3fU));
  return uuid;
}

}  // namespace vms

std::size_t std::hash<vms::Uuid>::operator()(const vms::Uuid& uuid) const noexcept {
  // Version 7 is random at its end and alike at its beginning; other versions differ in both.
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  std::memcpy(&high, uuid.bytes.data(), sizeof high);
  std::memcpy(&low, uuid.bytes.data() + sizeof high, sizeof low);
  return static_cast<std::size_t>(low ^ (high * 0x9e3779b97f4a7c15U));
}
