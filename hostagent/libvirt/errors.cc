#include "hostagent/libvirt/errors.h"

#include <libvirt/virterror.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "schema/base/utf8.h"

namespace vms::hostagent {
namespace {

constexpr int kAny = -1;

struct Rule {
  int domain;
  int code;
  ErrorClass error_class;
};

// The first rule that fits decides.
constexpr std::array kRules = {
    Rule{kAny, VIR_ERR_AUTH_FAILED, ErrorClass::Forbidden},
    Rule{kAny, VIR_ERR_AUTH_CANCELLED, ErrorClass::Forbidden},
    Rule{kAny, VIR_ERR_AUTH_UNAVAILABLE, ErrorClass::Forbidden},
    Rule{kAny, VIR_ERR_ACCESS_DENIED, ErrorClass::Forbidden},
    Rule{kAny, VIR_ERR_OPERATION_DENIED, ErrorClass::Forbidden},

    Rule{kAny, VIR_ERR_NO_CONNECT, ErrorClass::UnknownOutcome},
    Rule{kAny, VIR_ERR_INVALID_CONN, ErrorClass::UnknownOutcome},
    Rule{kAny, VIR_ERR_RPC, ErrorClass::UnknownOutcome},
    Rule{VIR_FROM_RPC, kAny, ErrorClass::UnknownOutcome},
    Rule{VIR_FROM_REMOTE, kAny, ErrorClass::UnknownOutcome},

    Rule{kAny, VIR_ERR_NO_DOMAIN, ErrorClass::NotFound},
    Rule{kAny, VIR_ERR_XML_ERROR, ErrorClass::Invalid},
    Rule{kAny, VIR_ERR_XML_DETAIL, ErrorClass::Invalid},
    Rule{kAny, VIR_ERR_XML_INVALID_SCHEMA, ErrorClass::Invalid},

    Rule{VIR_FROM_STORAGE, kAny, ErrorClass::Dependency},
    Rule{VIR_FROM_NETWORK, kAny, ErrorClass::Dependency},
    Rule{VIR_FROM_LOCKING, kAny, ErrorClass::Dependency},
    Rule{kAny, VIR_ERR_NO_NETWORK, ErrorClass::Dependency},
    Rule{kAny, VIR_ERR_NO_NETWORK_PORT, ErrorClass::Dependency},
    Rule{kAny, VIR_ERR_NO_INTERFACE, ErrorClass::Dependency},
    Rule{kAny, VIR_ERR_NO_STORAGE_POOL, ErrorClass::Dependency},
    Rule{kAny, VIR_ERR_NO_STORAGE_VOL, ErrorClass::Dependency},
    Rule{kAny, VIR_ERR_STORAGE_PROBE_FAILED, ErrorClass::Dependency},
    Rule{kAny, VIR_ERR_NO_NODE_DEVICE, ErrorClass::Dependency},
    Rule{kAny, VIR_ERR_NO_SECRET, ErrorClass::Dependency},
    Rule{kAny, VIR_ERR_NO_NWFILTER, ErrorClass::Dependency},
    Rule{kAny, VIR_ERR_RESOURCE_BUSY, ErrorClass::Dependency},

    // Another operation holds the domain's job for 30 s.
    Rule{kAny, VIR_ERR_OPERATION_TIMEOUT, ErrorClass::Busy},
    Rule{kAny, kAny, ErrorClass::HostRejected},
};

}  // namespace

ErrorClass classifyLibvirtError(int domain, int code) noexcept {
  for (const Rule& rule : kRules) {
    if (rule.domain != kAny && rule.domain != domain) continue;
    if (rule.code != kAny && rule.code != code) continue;
    return rule.error_class;
  }
  return ErrorClass::HostRejected;
}

Error lastLibvirtError(std::string_view what) {
  std::string message = "libvirt could not " + std::string(what) + ": ";
  const virErrorPtr last = virGetLastError();
  if (last == nullptr || last->code == VIR_ERR_OK) {
    return {ErrorClass::HostRejected, message + "it gave no reason"};
  }
  message += last->message == nullptr ? "error " + std::to_string(last->code) : last->message;
  // What QEMU said comes with its line breaks and with bytes of any kind; an error is one line, and
  // a frame with what is no text would be refused whole, again and again.
  std::replace(message.begin(), message.end(), '\n', ' ');
  message = asUtf8(std::move(message));
  while (!message.empty() && message.back() == ' ') message.pop_back();
  return {classifyLibvirtError(last->domain, last->code), std::move(message)};
}

}  // namespace vms::hostagent
