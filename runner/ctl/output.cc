#include "runner/ctl/output.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <cstdlib>

namespace vms::runner::ctl {
namespace {

constexpr std::size_t kNarrow = 8;
constexpr std::string_view kBetween = "  ";

bool isContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0U) == 0x80U; }

/// Characters, not bytes.
std::size_t widthOf(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !isContinuation(c); }));
}

/// At most `width` characters; cut text ends in '~'.
std::string cut(const std::string& text, std::size_t width) {
  if (widthOf(text) <= width) return text;
  std::string out;
  std::size_t used = 0;
  for (const char c : text) {
    if (!isContinuation(c) && ++used >= width) break;
    out.push_back(c);
  }
  return out + "~";
}

void fit(std::vector<std::size_t>& widths, std::size_t limit) {
  if (limit == 0 || widths.empty()) return;
  for (;;) {
    std::size_t total = kBetween.size() * (widths.size() - 1);
    for (const std::size_t width : widths) total += width;
    const auto widest = std::max_element(widths.begin(), widths.end());
    if (total <= limit || *widest <= kNarrow) return;
    *widest = std::max(kNarrow, *widest - std::min(*widest, total - limit));
  }
}

std::string csvField(const json::value& value) {
  if (value.is_null()) return {};
  const std::string text =
      value.is_string() ? std::string(value.get_string()) : json::serialize(value);
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted.push_back('"');
    quoted.push_back(c);
  }
  return quoted + "\"";
}

void put(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

}  // namespace

Screen screenOf(int fd) {
  Screen screen;
  screen.is_terminal = ::isatty(fd) == 1;
  if (!screen.is_terminal) return screen;
  winsize size{};
  screen.width = ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  const char* no_colour = std::getenv("NO_COLOR");
  screen.colours = no_colour == nullptr || *no_colour == '\0';
  return screen;
}

std::string cellOf(const json::value& value) {
  if (value.is_null()) return "-";
  if (value.is_double()) return fmt::format("{:.2f}", value.get_double());
  if (const auto* list = value.if_array()) {
    std::string out;
    for (const auto& item : *list) out += (out.empty() ? "" : ",") + cellOf(item);
    return out.empty() ? "-" : out;
  }
  if (const auto* object = value.if_object()) {
    std::string out;
    for (const auto& [key, member] : *object) {
      out += (out.empty() ? "" : ",") + std::string(key) + "=" + cellOf(member);
    }
    return out.empty() ? "-" : out;
  }
  std::string out = value.is_string() ? std::string(value.get_string()) : json::serialize(value);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return out.empty() ? "-" : out;
}

std::string cellOf(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value == nullptr ? "-" : cellOf(*value);
}

double numberOf(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  if (value == nullptr || !value->is_number()) return 0;
  return value->to_number<double>();
}

std::string stringOf(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::string tableOf(const json::array& rows, const std::vector<Column>& columns,
                    const Screen& screen) {
  std::vector<std::vector<std::string>> cells;
  cells.emplace_back();
  for (const Column& column : columns) cells.back().push_back(column.heading);
  for (const auto& row : rows) {
    cells.emplace_back();
    for (const Column& column : columns) {
      cells.back().push_back(row.is_object() ? cellOf(row.get_object(), column.key) : "-");
    }
  }
  std::vector<std::size_t> widths(columns.size(), 0);
  for (const auto& line : cells) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], widthOf(line[i]));
  }
  fit(widths, screen.width);
  std::string out;
  for (std::size_t row = 0; row < cells.size(); ++row) {
    std::string line;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const std::string cell = cut(cells[row][i], widths[i]);
      if (i > 0) line += kBetween;
      line += cell;
      if (i + 1 < columns.size()) line.append(widths[i] - widthOf(cell), ' ');
    }
    while (line.ends_with(' ')) line.pop_back();
    out += row == 0 && screen.colours ? "\x1b[1m" + line + "\x1b[0m\n" : line + "\n";
  }
  return out;
}

std::string listingOf(const json::object& object) {
  std::size_t width = 0;
  for (const auto& [key, value] : object) width = std::max(width, key.size());
  std::string out;
  for (const auto& [key, value] : object) {
    out += std::string(key) + ":" + std::string(width - key.size() + 1, ' ') + cellOf(value) + "\n";
  }
  return out;
}

std::string csvOf(const json::array& rows, const std::vector<Column>& fallback) {
  std::vector<std::string> keys;
  if (rows.empty() || !rows.front().is_object()) {
    for (const Column& column : fallback) keys.push_back(column.key);
  } else {
    for (const auto& [key, value] : rows.front().get_object()) keys.emplace_back(key);
  }
  std::string out;
  for (const std::string& key : keys) out += (out.empty() ? "" : ",") + key;
  out += "\r\n";
  for (const auto& row : rows) {
    if (!row.is_object()) continue;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto* value = row.get_object().if_contains(keys[i]);
      out += (i == 0 ? "" : ",") + (value == nullptr ? std::string() : csvField(*value));
    }
    out += "\r\n";
  }
  return out;
}

void printRows(const Settings& settings, const json::array& rows,
               const std::vector<Column>& columns) {
  switch (settings.format()) {
    case Output::Table:
      put(tableOf(rows, columns, screenOf(STDOUT_FILENO)));
      break;
    case Output::Json:
      put(json::serialize(rows) + "\n");
      break;
    case Output::Csv:
      put(csvOf(rows, columns));
      break;
    case Output::Ndjson:
      for (const auto& row : rows) put(json::serialize(row) + "\n");
      break;
  }
}

void printObject(const Settings& settings, const json::object& object) {
  switch (settings.format()) {
    case Output::Table:
      put(listingOf(object));
      break;
    case Output::Csv: {
      json::array rows;
      rows.emplace_back(object);
      put(csvOf(rows, {}));
      break;
    }
    case Output::Json:
    case Output::Ndjson:
      put(json::serialize(object) + "\n");
      break;
  }
}

std::string bytesOf(double bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 1, kUnits[unit]);
}

std::string spanOf(double ms) {
  if (ms < 1000) return fmt::format("{:.0f} ms", ms);
  if (ms < 120'000) return fmt::format("{:.1f} s", ms / 1000);
  const auto whole_seconds = static_cast<long long>(ms / 1000);
  if (whole_seconds < 7200) {
    return fmt::format("{} min {} s", whole_seconds / 60, whole_seconds % 60);
  }
  return fmt::format("{} h {} min", whole_seconds / 3600, whole_seconds / 60 % 60);
}

}  // namespace vms::runner::ctl
