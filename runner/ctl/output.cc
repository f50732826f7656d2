#include "runner/ctl/output.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "runner/ctl/text_width.h"

namespace vms::runner::ctl {
namespace {

int output_error = 0;

constexpr std::string_view kBetween = "  ";
/// Free text is cut down to this before anything else is.
constexpr std::size_t kTextMin = 8;
constexpr std::size_t kMin = 4;

std::size_t sumOf(const std::vector<std::size_t>& widths) {
  std::size_t sum = kBetween.size() * (widths.size() - 1);
  for (const std::size_t width : widths) sum += width;
  return sum;
}

/// Takes from the widest of those that `may` be cut until all fit or none is above `least`.
template <class May>
void shorten(std::vector<std::size_t>& widths, std::size_t limit, std::size_t least, May may) {
  while (sumOf(widths) > limit) {
    std::size_t widest = widths.size();
    for (std::size_t i = 0; i < widths.size(); ++i) {
      if (may(i) && (widest == widths.size() || widths[i] > widths[widest])) widest = i;
    }
    if (widest == widths.size() || widths[widest] <= least) return;
    --widths[widest];
  }
}

const char* colourOf(std::string_view word) {
  for (const char* good : {"running", "ready", "succeeded"}) {
    if (word == good) return "32";
  }
  for (const char* bad : {"failed", "refused", "disconnected", "quarantined"}) {
    if (word == bad) return "31";
  }
  for (const char* odd : {"held", "unknown", "draining", "unconfirmed", "not_ready", "cancelled"}) {
    if (word == odd) return "33";
  }
  return nullptr;
}

std::string csvField(const json::value& value) {
  if (value.is_null()) return {};
  if (value.is_double()) return fmt::format("{}", value.get_double());
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

}  // namespace

bool put(std::string_view text) {
  if (output_error != 0) return false;
  if (std::fwrite(text.data(), 1, text.size(), stdout) < text.size()) output_error = errno;
  return output_error == 0;
}

int flushOutput() {
  if (output_error == 0 && std::fflush(stdout) != 0) output_error = errno;
  return output_error;
}

std::string painted(const std::string& text, const char* code, const Screen& screen) {
  return screen.colours ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
}

Screen screenOf(int fd, Colour colour) {
  Screen screen;
  const bool terminal = ::isatty(fd) == 1;
  const char* type = std::getenv("TERM");
  screen.is_terminal = terminal && (type == nullptr || std::string_view(type) != "dumb");
  const char* no_colour = std::getenv("NO_COLOR");
  screen.colours = colour == Colour::Always || (colour == Colour::Auto && screen.is_terminal &&
                                                (no_colour == nullptr || *no_colour == '\0'));
  if (!terminal) return screen;
  winsize size{};
  screen.width = ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  screen.height = size.ws_row;
  return screen;
}

namespace {

/// What is longer is shown below its key.
constexpr std::size_t kInline = 60;

std::string listedOf(std::string_view key, const json::value& value) {
  const bool bytes = value.is_number() && key.find("memory") != std::string_view::npos;
  return cellOf(value) + (bytes ? " (" + bytesOf(value.to_number<double>()) + ")" : "");
}

void addListing(const json::object& object, const std::string& indent, std::string& out) {
  std::size_t width = 0;
  for (const auto& [key, value] : object) width = std::max(width, key.size());
  for (const auto& [key, value] : object) {
    out += indent + std::string(key) + ":";
    const std::string text = listedOf(key, value);
    const auto* members = value.if_object();
    const auto* items = value.if_array();
    if (text.size() <= kInline || (members == nullptr && items == nullptr)) {
      out += std::string(width - key.size() + 1, ' ') + text + "\n";
      continue;
    }
    out += "\n";
    if (members != nullptr) {
      addListing(*members, indent + "  ", out);
      continue;
    }
    for (const auto& item : *items) out += indent + "  " + cellOf(item) + "\n";
  }
}

}  // namespace

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
  out = printable(out);
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
  if (screen.width > 0 && !widths.empty()) {
    shorten(widths, screen.width, kTextMin, [&](std::size_t i) { return columns[i].is_text; });
    shorten(widths, screen.width, kMin, [](std::size_t) { return true; });
  }
  std::string out;
  for (std::size_t row = 0; row < cells.size(); ++row) {
    std::string line;
    std::size_t used = 0;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const std::size_t left = screen.width == 0 ? widths[i] : screen.width - used;
      const std::string cell = cutTo(cells[row][i], std::min(widths[i], left));
      const char* code = row == 0 ? "1" : columns[i].is_state ? colourOf(cell) : nullptr;
      line += code == nullptr ? cell : painted(cell, code, screen);
      if (i + 1 == columns.size()) break;
      used += widths[i] + kBetween.size();
      // The terminal is narrower than the narrowest table.
      if (screen.width > 0 && used >= screen.width) break;
      line.append(widths[i] - widthOf(cell), ' ');
      line += kBetween;
    }
    out += line + "\n";
  }
  return out;
}

std::string listingOf(const json::object& object) {
  std::string out;
  addListing(object, "", out);
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
      put(tableOf(rows, columns, screenOf(STDOUT_FILENO, settings.colour())));
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
