#pragma once

namespace vms {

/// Logs `expression` with its place and aborts. The restart path recovers: every durable step
/// precedes its effect, so dying is always safe.
[[noreturn]] void checkFailed(const char* expression, const char* file, int line,
                              const char* why) noexcept;

}  // namespace vms

/// Aborts when an invariant of our own code is broken. Stays on in release builds. Never for
/// input, peers or the environment: those are `Result`s.
#define VMS_CHECK(condition, why) \
  ((condition) ? static_cast<void>(0) : ::vms::checkFailed(#condition, __FILE__, __LINE__, why))
