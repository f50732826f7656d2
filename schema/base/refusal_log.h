#pragma once

#include <cstddef>
#include <string>

#include "schema/base/log.h"

namespace vms {

/// Logs what anybody on the network can cause, a bounded number of lines per window. One strand;
/// whoever owns it calls nextWindow() about once a second while pending().
class RefusalLog {
 public:
  static constexpr std::size_t kLinesPerWindow = 10;

  void refused(const std::string& peer, const std::string& reason) {
    if (lines_ >= kLinesPerWindow) {
      ++suppressed_;
      return;
    }
    ++lines_;
    log::warn("refused connection from {}: {}", peer, reason);
  }

  bool pending() const noexcept { return lines_ != 0; }

  void nextWindow() {
    if (suppressed_ != 0) log::warn("refused {} more connections", suppressed_);
    lines_ = 0;
    suppressed_ = 0;
  }

 private:
  std::size_t lines_ = 0;
  std::size_t suppressed_ = 0;
};

}  // namespace vms
