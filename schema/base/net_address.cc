#include "schema/base/net_address.h"

#include <arpa/inet.h>

#include <array>
#include <charconv>

namespace vms {
namespace {

constexpr std::size_t kMaxHostBytes = 253;  // of a DNS name

Error badAddress(std::string_view text, std::string_view cause) {
  return {ErrorClass::Invalid, "address '" + std::string(text.substr(0, 300)) + "' " +
                                   std::string(cause) +
                                   "; expected HOST:PORT, for example engine.example:7443 or "
                                   "[::1]:7443"};
}

bool isHostCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == '_';
}

}  // namespace

Result<NetAddress> parseNetAddress(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return badAddress(text, "has no port");
  std::string_view host = text.substr(0, colon);
  const std::string_view port_text = text.substr(colon + 1);

  NetAddress address;
  const char* const end = port_text.data() + port_text.size();
  const auto [parsed, error] = std::from_chars(port_text.data(), end, address.port);
  if (error != std::errc() || parsed != end) {
    return badAddress(text, "has a port that is not a number from 0 to 65535");
  }

  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    address.host = host.substr(1, host.size() - 2);
    if (!isIpAddress(address.host) || address.host.find(':') == std::string::npos) {
      return badAddress(text, "has brackets around what is no IPv6 address");
    }
    return address;
  }
  if (host.empty()) return badAddress(text, "has no host");
  if (host.size() > kMaxHostBytes) return badAddress(text, "has too long a host name");
  for (const char c : host) {
    if (!isHostCharacter(c)) return badAddress(text, "has a character that no host name has");
  }
  address.host = host;
  return address;
}

std::string formatNetAddress(const NetAddress& address) {
  const bool brackets = address.host.find(':') != std::string::npos;
  return (brackets ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

bool isIpAddress(const std::string& host) noexcept {
  std::array<unsigned char, sizeof(in6_addr)> parsed;
  return ::inet_pton(AF_INET, host.c_str(), parsed.data()) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), parsed.data()) == 1;
}

}  // namespace vms
