#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace vms {

/// Well-formed by the length of its sequences; no overlong forms and no surrogates.
bool isUtf8(std::string_view text) noexcept;

/// `text` from outside, fit to be sent, stored and shown: every byte of what is not UTF-8, and
/// every control character, becomes '?'.
std::string asUtf8(std::string text);

/// What fits into `max_bytes` of UTF-8, without half a character at the end.
std::string_view cutUtf8(std::string_view text, std::size_t max_bytes) noexcept;

}  // namespace vms
