#include "runner/ctl/text_width.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace vms::runner::ctl {
namespace {

struct Range {
  std::uint32_t first, last;
};

template <std::size_t N>
bool isIn(const std::array<Range, N>& ranges, std::uint32_t code) {
  const auto* const after =
      std::upper_bound(ranges.begin(), ranges.end(), code,
                       [](std::uint32_t value, const Range& range) { return value < range.first; });
  return after != ranges.begin() && code <= std::prev(after)->last;
}

/// What would end a line, drive a terminal or turn the order of the text around.
constexpr std::array<Range, 5> kControls = {
    {{0x00, 0x1f}, {0x7f, 0x9f}, {0x2028, 0x202e}, {0x2066, 0x2069}, {0xfeff, 0xfeff}}};

/// Marks that share the place of the character before.
constexpr std::array<Range, 20> kNarrowest = {
    {{0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},   {0x64b, 0x65f},
     {0x6d6, 0x6dc},   {0x93c, 0x93c},   {0x941, 0x948},   {0x94d, 0x94d},   {0xe31, 0xe31},
     {0xe34, 0xe3a},   {0xe47, 0xe4e},   {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200b, 0x200f},
     {0x2060, 0x2064}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xe0100, 0xe01ef}}};

/// East Asian wide and full-width characters, and emoji.
constexpr std::array<Range, 17> kWidest = {{{0x1100, 0x115f},
                                            {0x231a, 0x231b},
                                            {0x23e9, 0x23ec},
                                            {0x2614, 0x2615},
                                            {0x2648, 0x2653},
                                            {0x26a1, 0x26a1},
                                            {0x2705, 0x2705},
                                            {0x274c, 0x274c},
                                            {0x2e80, 0x303e},
                                            {0x3041, 0xa4cf},
                                            {0xa960, 0xa97f},
                                            {0xac00, 0xd7a3},
                                            {0xf900, 0xfaff},
                                            {0xfe30, 0xfe6f},
                                            {0xff01, 0xff60},
                                            {0x1f300, 0x1faff},
                                            {0x20000, 0x3fffd}}};

struct Character {
  std::uint32_t code = 0;
  std::size_t bytes = 1;
  bool valid = false;
};

/// The first character of `text`, which is not empty; of rubbish, one byte.
Character firstOf(std::string_view text) {
  Character out;
  const auto byte = [&text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::uint32_t lead = byte(0);
  if (lead < 0x80) {
    out.code = lead;
    out.valid = true;
    return out;
  }
  const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return out;
  std::uint32_t code = lead & (0xffU >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0U) != 0x80U) return out;
    code = code << 6U | (byte(i) & 0x3fU);
  }
  constexpr std::array<std::uint32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kSmallest.at(size) || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
    return out;
  }
  out.code = code;
  out.bytes = size;
  out.valid = true;
  return out;
}

std::size_t columnsOf(const Character& character) {
  if (!character.valid) return 1;
  if (isIn(kNarrowest, character.code)) return 0;
  return isIn(kWidest, character.code) ? 2 : 1;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character character = firstOf(text);
    if (!character.valid) {
      out += "\xef\xbf\xbd";
    } else if (isIn(kControls, character.code)) {
      out.push_back(' ');
    } else {
      out += text.substr(0, character.bytes);
    }
    text.remove_prefix(character.bytes);
  }
  return out;
}

std::size_t widthOf(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const Character character = firstOf(text);
    width += columnsOf(character);
    text.remove_prefix(character.bytes);
  }
  return width;
}

std::string cutTo(std::string_view text, std::size_t width) {
  if (widthOf(text) <= width) return std::string(text);
  if (width == 0) return {};
  std::string out;
  std::size_t used = 0;
  while (!text.empty()) {
    const Character character = firstOf(text);
    used += columnsOf(character);
    if (used >= width) break;
    out += text.substr(0, character.bytes);
    text.remove_prefix(character.bytes);
  }
  return out + "~";
}

}  // namespace vms::runner::ctl
