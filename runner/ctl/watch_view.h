#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <string>

#include "runner/ctl/output.h"
#include "schema/base/time.h"

namespace vms::runner::ctl {

/// What `watch` shows at one time: at, hosts, hosts_ready, running, staged, queued (of the active
/// requests), active_requests (those), recent_failures (attempts, newest first). Pure.
json::object watchView(WallTime now, const json::array& hosts, const json::array& requests,
                       const json::array& failures);

/// One line of its sums.
std::string watchLine(const json::object& view);

/// As much of it as fits the screen, `note` below the sums; every line clears what stood there
/// before.
std::string watchScreen(const json::object& view, const Screen& screen, const std::string& note);

}  // namespace vms::runner::ctl
