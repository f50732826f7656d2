#include "runner/history_cursor.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace vms::runner {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";
constexpr char kVersion = 'a';
constexpr std::size_t kTimeBytes = 8;
constexpr std::size_t kIdBytes = 16;
constexpr std::size_t kSumBytes = 4;
constexpr std::size_t kBytes = kTimeBytes + kIdBytes + kSumBytes;

using Bytes = std::array<std::uint8_t, kBytes>;

/// FNV-1a.
std::uint32_t checksum(const Bytes& bytes) {
  std::uint32_t sum = 2166136261U;
  for (std::size_t i = 0; i < kBytes - kSumBytes; ++i) sum = (sum ^ bytes[i]) * 16777619U;
  return sum;
}

void putBigEndian(Bytes& bytes, std::size_t at, std::size_t size, std::uint64_t value) {
  for (std::size_t i = size; i-- > 0; value >>= 8U) {
    bytes[at + i] = static_cast<std::uint8_t>(value & 0xffU);
  }
}

std::uint64_t bigEndian(const Bytes& bytes, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = at; i < at + size; ++i) value = (value << 8U) | bytes[i];
  return value;
}

}  // namespace

std::string encodeCursor(const HistoryCursor& cursor) {
  Bytes bytes{};
  putBigEndian(bytes, 0, kTimeBytes, static_cast<std::uint64_t>(cursor.requested_at.unix_ms));
  for (std::size_t i = 0; i < kIdBytes; ++i) {
    bytes[kTimeBytes + i] = cursor.attempt.uuid.bytes[i];
  }
  putBigEndian(bytes, kTimeBytes + kIdBytes, kSumBytes, checksum(bytes));
  std::string text(1, kVersion);
  for (const std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

std::optional<HistoryCursor> decodeCursor(std::string_view text) {
  if (text.size() != 1 + 2 * kBytes || text.front() != kVersion) return std::nullopt;
  Bytes bytes{};
  for (std::size_t i = 0; i < 2 * kBytes; ++i) {
    const std::size_t digit = kDigits.find(text[1 + i]);
    if (digit == std::string_view::npos) return std::nullopt;
    bytes[i / 2] = static_cast<std::uint8_t>((unsigned{bytes[i / 2]} << 4U) | digit);
  }
  if (bigEndian(bytes, kTimeBytes + kIdBytes, kSumBytes) != checksum(bytes)) return std::nullopt;
  HistoryCursor cursor;
  cursor.requested_at.unix_ms = static_cast<std::int64_t>(bigEndian(bytes, 0, kTimeBytes));
  for (std::size_t i = 0; i < kIdBytes; ++i) {
    cursor.attempt.uuid.bytes[i] = bytes[kTimeBytes + i];
  }
  return cursor;
}

}  // namespace vms::runner
