#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace vms::runner::ctl {

/// Text that cannot drive a terminal: control characters (also the C1 ones, line separators and
/// changes of direction) become spaces, bytes that are no UTF-8 become U+FFFD.
std::string printable(std::string_view text);

/// Columns that a terminal needs for printable text: none for combining marks, two for East Asian
/// wide characters and emoji.
std::size_t widthOf(std::string_view text);

/// At most `width` columns of printable text; cut text ends in '~'.
std::string cutTo(std::string_view text, std::size_t width);

}  // namespace vms::runner::ctl
