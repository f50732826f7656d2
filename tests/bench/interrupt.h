#pragma once

#include <functional>

#include "schema/base/error.h"
#include "schema/base/time.h"

namespace vms::bench {

/// SIGINT, SIGTERM and SIGHUP are remembered from now on; every wait of a benchmark ends with them,
/// so that it leaves through its destructors. SIGPIPE is ignored: writing to a connection that the
/// engine has closed is an error like others.
void catchInterrupts();
bool interrupted() noexcept;

/// Waits until `condition`, which is cheap, holds. Deadline: it did not within `limit`, and `what`
/// says what was waited for; Cancelled: a signal came.
Result<void> waitUntil(const std::function<bool()>& condition, Duration limit,
                       const std::string& what);

}  // namespace vms::bench
