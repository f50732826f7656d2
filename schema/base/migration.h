#pragma once

#include <string_view>

namespace vms {

/// One numbered step of a database schema, embedded by the build from schema/sql.
struct Migration {
  int version = 0;        ///< From 1, without gaps.
  std::string_view name;  ///< The file's name without its ending.
  std::string_view sql;
};

}  // namespace vms
