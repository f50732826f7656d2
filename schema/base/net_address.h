#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "schema/base/error.h"

namespace vms {

/// A host (name or IP address, without brackets) and a TCP port.
struct NetAddress {
  std::string host;
  std::uint16_t port = 0;

  bool operator==(const NetAddress&) const = default;
};

/// "HOST:PORT", with an IPv6 address in brackets: "[::1]:7443". Invalid names the text and the
/// form that is expected.
Result<NetAddress> parseNetAddress(std::string_view text);

/// The inverse of parseNetAddress.
std::string formatNetAddress(const NetAddress& address);

/// Whether `host` is an IPv4 or IPv6 address, not a name.
bool isIpAddress(const std::string& host) noexcept;

}  // namespace vms
