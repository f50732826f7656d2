#pragma once

namespace vms::runner::ctl {

/// From now on Ctrl-C and SIGTERM do not end the process: whoever waits sees `interrupted()` within
/// a fifth of a second and says what goes on without it. Once is enough.
void catchInterrupts();

/// Whether one came since `catchInterrupts`.
bool interrupted();

}  // namespace vms::runner::ctl
