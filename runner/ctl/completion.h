#pragma once

#include <string>

namespace CLI {
class App;
}

namespace vms::runner::ctl {

/// A script for bash that completes the commands, options and values of `app`. Names of VMs, hosts
/// and requests it asks of `vmsctl complete-names`.
std::string bashCompletion(const CLI::App& app);

}  // namespace vms::runner::ctl
