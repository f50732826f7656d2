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
  bool is_terminal = false;
  std::size_t width = 0;  ///< 0: unlimited.
  bool colours = false;   ///< A terminal, and NO_COLOR is not set.
};
/// Of file descriptor 1 or 2.
Screen screenOf(int fd);

/// One column of a table: a key of the rows and its heading.
struct Column {
  std::string key;
  std::string heading;
};

/// Rows as a table that fits the screen: the widest columns are cut first.
std::string tableOf(const json::array& rows, const std::vector<Column>& columns,
                    const Screen& screen);
/// "key: value" lines.
std::string listingOf(const json::object& object);
/// With a heading of all keys of the first row; RFC 4180.
std::string csvOf(const json::array& rows, const std::vector<Column>& fallback);

/// Prints to stdout in the form that was asked for.
void printRows(const Settings& settings, const json::array& rows,
               const std::vector<Column>& columns);
void printObject(const Settings& settings, const json::object& object);

/// As a person reads it: no quotes around text, "-" for null. Control characters are replaced, so
/// that text from elsewhere cannot drive the terminal.
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
