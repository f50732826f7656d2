#pragma once

#include <string>

#include "runner/ctl/api_client.h"
#include "runner/ctl/outcome.h"
#include "runner/ctl/settings.h"

namespace vms::runner::ctl {

/// When --timeout ends, or never.
TimePoint deadlineOf(const Settings& settings, const Clock& clock);

struct Follow {
  std::string request_id;
  TimePoint started;  ///< For what is shown as elapsed.
  TimePoint deadline;
  bool accepted = false;    ///< This command made it: an engine that is away will come back.
  bool each_state = false;  ///< Prints every state on stdout, as JSON lines.
};

/// Shows the progress of a request until it is finished, over lost connections and restarts of the
/// engine, then prints the result: exit status 0 when all VMs are up, else 1. Failure: timed out,
/// not authorised, not known; unreachable only when it was never reached.
Outcome<int> followRequest(ApiClient& api, const Settings& settings, const Follow& follow);

}  // namespace vms::runner::ctl
