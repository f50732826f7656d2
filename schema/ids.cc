#include "schema/ids.h"

namespace vms {

bool isValidHostId(const std::string& host) noexcept {
  const auto isAlphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  };
  if (host.empty() || host.size() > 64) return false;
  if (!isAlphanumeric(host.front()) || !isAlphanumeric(host.back())) return false;
  for (const char c : host) {
    if (!isAlphanumeric(c) && c != '.' && c != '-') return false;
  }
  return true;
}

}  // namespace vms
