#pragma once

#include <string_view>

#include "schema/base/error.h"

namespace vms::hostagent {

/// The class of a libvirt error by its domain and code (virErrorDomain, virErrorNumber): the one
/// table. UnknownOutcome stands for a connection that broke under the call, whose effect is then
/// unknown; for calls that only read it means no more than "no answer".
ErrorClass classifyLibvirtError(int domain, int code) noexcept;

/// The last libvirt error of this thread as "libvirt could not <what>: <its message>". Call right
/// after the call that failed.
Error lastLibvirtError(std::string_view what);

}  // namespace vms::hostagent
