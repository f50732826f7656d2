#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vms::hostagent {

/// One life of a libvirt daemon on this machine: a pid alone is used again.
struct DaemonInstance {
  pid_t pid = 0;
  std::uint64_t started = 0;  ///< Clock ticks since boot, from /proc/PID/stat.
  bool operator==(const DaemonInstance&) const = default;
};

/// Where a libvirt URI leads.
struct LibvirtTarget {
  bool local = false;       ///< On this machine.
  bool in_process = false;  ///< The driver runs inside this process (test:///, qemu:///embed).
  bool volatile_domains = false;  ///< Domains end with this process (test:///).
  std::string socket;  ///< The daemon's socket; empty when there is none or it is not known.
};

/// Reads the URI; for a local daemon without `?socket=` it looks for the sockets that libvirt would
/// use.
LibvirtTarget targetOf(std::string_view uri);

/// The living process at the other end of this process's open connections to a socket of that name
/// (the last part of its path). No value: there is none, or more than one.
std::optional<DaemonInstance> daemonOfOwnConnections(const std::string& socket);

/// The process that listens on `socket` now, found by connecting to it. No value: not reachable, or
/// not visible from here (another pid namespace).
std::optional<DaemonInstance> daemonBehind(const std::string& socket);

/// Whether that very process still exists; a zombie does not.
bool isAlive(const DaemonInstance& instance);

}  // namespace vms::hostagent
