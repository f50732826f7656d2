#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "runner/ctl/settings.h"

namespace vms::runner::ctl {

namespace json = boost::json;

/// Where text goes and how it may look there.
struct Screen {
  bool is_terminal = false;  ///< Text that stands there can be overwritten.
  std::size_t width = 0;     ///< 0: unlimited.
  std::size_t height = 0;    ///< 0: unlimited.
  bool colours = false;
};
/// Of file descriptor 1 or 2. Colour::Auto: on a terminal that is not dumb, without NO_COLOR.
Screen screenOf(int fd, Colour colour);
/// In a colour (an ANSI code), if the screen has colours.
std::string painted(const std::string& text, const char* code, const Screen& screen);

/// One column of a table: a key of the rows and its heading.
struct Column {
  std::string key;
  std::string heading;
  bool is_text = false;   ///< Free text, times and ids beside a name: cut first.
  bool is_state = false;  ///< A state, shown in its colour.
};

/// Rows as a table that fits the screen: free text is cut first, the widest column before others.
std::string tableOf(const json::array& rows, const std::vector<Column>& columns,
                    const Screen& screen);
/// "key: value" lines; what is long stands indented below its key.
std::string listingOf(const json::object& object);
/// With a heading of all keys of the first row; RFC 4180.
std::string csvOf(const json::array& rows, const std::vector<Column>& fallback);

/// To stdout. False when this or anything before could not be written.
bool put(std::string_view text);
/// Hands everything over; the errno of the first failure, or 0.
int flushOutput();
/// Prints to stdout in the form that was asked for.
void printRows(const Settings& settings, const json::array& rows,
               const std::vector<Column>& columns);
void printObject(const Settings& settings, const json::object& object);

/// As a person reads it: printable, no quotes around text, "-" for null.
std::string cellOf(const json::value& value);
/// As `cellOf`, of a member; "-" when there is none.
std::string cellOf(const json::object& object, std::string_view key);
/// Number of a member; 0 when there is none.
double numberOf(const json::object& object, std::string_view key);
std::string stringOf(const json::object& object, std::string_view key);

/// "1.5 GiB"
std::string bytesOf(double bytes);
/// "850 ms", "12.3 s", "4 min 10 s"
std::string spanOf(double ms);

}  // namespace vms::runner::ctl
