#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace vms {

/// "1 host", "2 hosts", for people. `one`: a word whose plural is made with an s.
inline std::string counted(std::uint64_t count, std::string_view one) {
  std::string text = std::to_string(count) + " ";
  text += one;
  if (count != 1) text += "s";
  return text;
}

}  // namespace vms
