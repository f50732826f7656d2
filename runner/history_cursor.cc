#include "runner/history_cursor.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace vms::runner {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";
constexpr char kVersion = 'b';
constexpr std::size_t kTimeBytes = 8;
constexpr std::size_t kIdBytes = 16;
constexpr std::size_t kQueryBytes = 4;
constexpr std::size_t kSumBytes = 4;
constexpr std::size_t kQueryAt = kTimeBytes + kIdBytes;
constexpr std::size_t kSumAt = kQueryAt + kQueryBytes;
constexpr std::size_t kBytes = kSumAt + kSumBytes;

using Bytes = std::array<std::uint8_t, kBytes>;

/// FNV-1a.
class Sum {
 public:
  void add(std::uint8_t byte) { sum_ = (sum_ ^ byte) * 16777619U; }
  void add(std::string_view text) {
    for (const char byte : text) add(static_cast<std::uint8_t>(byte));
  }
  std::uint32_t value() const { return sum_; }

 private:
  std::uint32_t sum_ = 2166136261U;
};

std::uint32_t checksum(const Bytes& bytes) {
  Sum sum;
  for (std::size_t i = 0; i < kSumAt; ++i) sum.add(bytes[i]);
  return sum.value();
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

std::uint32_t fingerprintOf(const HistoryQuery& query) {
  Sum sum;
  const auto filter = [&sum](bool given, std::string_view name, const std::string& value) {
    if (!given) return;
    sum.add(name);
    sum.add(value);
    sum.add(std::uint8_t{0});
  };
  const auto ms = [](const std::optional<WallTime>& time) {
    return time ? std::to_string(time->unix_ms) : std::string();
  };
  filter(query.host.has_value(), "host=", query.host.value_or(""));
  filter(query.vm.has_value(), "vm=", query.vm ? query.vm->str() : "");
  filter(query.vm_name.has_value(), "name=", query.vm_name.value_or(""));
  filter(query.request.has_value(), "request=", query.request ? query.request->str() : "");
  filter(query.since.has_value(), "since=", ms(query.since));
  filter(query.until.has_value(), "until=", ms(query.until));
  filter(query.outcome.has_value(), "outcome=", query.outcome.value_or(""));
  filter(query.reason.has_value(),
         "reason=", std::string(query.reason ? nameOf(*query.reason) : std::string_view()));
  return sum.value();
}

std::string encodeCursor(const HistoryCursor& cursor) {
  Bytes bytes{};
  putBigEndian(bytes, 0, kTimeBytes, static_cast<std::uint64_t>(cursor.requested_at.unix_ms));
  for (std::size_t i = 0; i < kIdBytes; ++i) {
    bytes[kTimeBytes + i] = cursor.attempt.uuid.bytes[i];
  }
  putBigEndian(bytes, kQueryAt, kQueryBytes, cursor.query);
  putBigEndian(bytes, kSumAt, kSumBytes, checksum(bytes));
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
  if (bigEndian(bytes, kSumAt, kSumBytes) != checksum(bytes)) return std::nullopt;
  HistoryCursor cursor;
  cursor.requested_at.unix_ms = static_cast<std::int64_t>(bigEndian(bytes, 0, kTimeBytes));
  for (std::size_t i = 0; i < kIdBytes; ++i) {
    cursor.attempt.uuid.bytes[i] = bytes[kTimeBytes + i];
  }
  cursor.query = static_cast<std::uint32_t>(bigEndian(bytes, kQueryAt, kQueryBytes));
  return cursor;
}

}  // namespace vms::runner
