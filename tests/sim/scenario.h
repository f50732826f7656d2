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
///     max-open-runs 4             that the engine accepts
///     late h2                     its agent starts when the script says so
///     0.5s run all key=a          or names; paused, host=h1, deadline=2s
///     1s cancel a                 | stop vm-001 [force] | drain h1 | activate h1
///     1s define vm-001 gate=5s    also memory=2GiB | undefine vm-001
///     1s engine crash             | engine stop | engine start
///     1s agent h1 crash           | stop | start | lose-journal | swap (to another hypervisor)
///     1s host h1 power-off        | power-on | hang | go-on
///     1s host h1 daemon-kill      | daemon-stop | daemon-start
///     1s host h1 lose-creates     | lose-calls | lose-queries | forget-ends | behave
///     1s host h1 guest-crash vm-001       | guest-off vm-001 | foreign vm-001 | migrate vm-001 h2
///     1s host h1 migrate vm-001 h2 3s     paused for so long while it comes in
///     1s host h1 suspend vm-001           | let-go-on vm-001
///     1s link h1 cut              | block | block-to-agent | block-to-engine | open
///     1s link h1 replay           | repeat | slow
///     1s journal h1 full          | stall | ok
///     1s store stall | full | reserve | ok | save | restore | restore-marked
///     1s clone h1 [other-hardware]   another machine with its certificate dials in
///     1s confirm                  an operator ends impostors and confirms what only a person can
///     1s forget h1 [fenced]       an operator says that it is off for good
///     0s curse vm-003 [dependency]   its creates are rejected everywhere | bless vm-003
///     when bulk-create h1 link h1 cut    at the first such frame, right after it was sent
///     end 60s                     how long it lasts
///
/// Everything must be settled at the end, or the scenario fails.
enum class ScenarioMode { Compare, Accept, Details, Edges };

/// Edges prints, instead of comparing, every transition and error class that became durable.
int runScenario(const std::string& folder, ScenarioMode mode);

}  // namespace vms::sim
