#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "schema/base/check.h"

/// What every target defines, and libFuzzer or replay.cc calls. A finding ends the process: a
/// failed VMS_CHECK, an exception, or a sanitizer's report.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace vms::fuzz {

inline std::string_view textOf(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};  // NOLINT: bytes are what fuzzers give.
}

}  // namespace vms::fuzz
