#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "hostagent/libvirt/libvirt_hypervisor.h"
#include "schema/base/error.h"

namespace vms::hostagent {

/// One thing about a libvirt daemon that costs speed or safety.
struct LibvirtFinding {
  std::string what;
  std::string why;
  std::string fix;  ///< The line, and the file it goes into.
};

/// "WHAT: WHY; put 'LINE' into FILE".
std::string formatFinding(const LibvirtFinding& finding);

/// What could be learned about a daemon.
struct LibvirtDaemonFacts {
  unsigned long version = 0;  ///< 9000000 is 9.0.0; 0: not known.
  std::string daemon_config;  ///< File names, for the findings.
  std::string qemu_config = "/etc/libvirt/qemu.conf";
  std::map<std::string, std::string> daemon;  ///< Settings; an absent one has libvirt's default.
  std::map<std::string, std::string> qemu;
  bool has_virtlogd = true;
  bool kvm_exists = false;
  bool kvm_opens = false;  ///< For this process.
};

/// `key = value` lines of libvirt's configuration files, quotes kept; a list may span lines.
std::map<std::string, std::string> parseLibvirtConfig(std::string_view text);

/// What `facts` mean for an agent with these options.
std::vector<LibvirtFinding> judgeLibvirt(const LibvirtDaemonFacts& facts,
                                         const LibvirtOptions& options);

/// Connects to the daemon and reads its configuration where it lies, also in a mount namespace of
/// its own. Blocking, for `vmshostd --check`. HostNotReady: not reachable.
Result<std::vector<LibvirtFinding>> checkLibvirt(const LibvirtOptions& options);

}  // namespace vms::hostagent
