#pragma once

#include <string>

namespace vms::sim {

/// Runs the scenario in a folder and compares its story with `expected.log` there. Returns the exit
/// status: 0 alike, 1 not (the difference is printed), 2 the script is wrong.
///
/// A script has one instruction per line; `#` begins a comment:
///
///     seed 7                      before everything else; default 1
///     hosts 2 memory=8GiB         named h1, h2, ...
///     vms 8 memory=1GiB           named vm-001, vm-002, ...
///     0.5s run all key=a          or names; paused, host=h1
///     1s cancel a                 | stop vm-001 [force] | drain h1 | activate h1
///     1s engine crash             | engine start | agent h1 crash | agent h1 start
///     1s host h1 power-off        | host h1 power-on | host h1 hang | host h1 go-on
///     1s host h1 daemon-kill      | host h1 daemon-stop | host h1 daemon-start
///     1s link h1 cut              | link h1 block | link h1 open
///     1s store stall | full | reserve | ok | save | restore | restore-marked
///     1s clone h1                 another machine with its certificate dials in
///     1s confirm                  an operator confirms every host with an alarm
///     0s curse vm-003             its creates are rejected everywhere
///     when bulk-create h1 link h1 cut    at the first such frame, right after it was sent
///     end 60s                     how long it lasts
///
/// Everything must be settled at the end, or the scenario fails.
int runScenario(const std::string& folder, bool accept, bool details);

}  // namespace vms::sim
