#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "schema/base/time.h"

namespace vms::sim {

/// What happened in a simulation: a hash over everything, and lines for people.
///
/// Two runs of one seed must give the same hash; a line that is worth reading in a scenario's
/// expected log is a story line, all others are details.
class Trace {
 public:
  enum class Level { Story, Detail };

  /// Mixes a number (or a text) into the hash.
  void mix(std::uint64_t value) noexcept;
  void mix(std::string_view text) noexcept;

  /// Hashes the line, and hands it to the sink if there is one.
  void line(Level level, TimePoint now, std::string_view text);

  /// Receives every line from now on.
  void setSink(std::function<void(Level, TimePoint, std::string_view)> sink);
  /// False: nobody reads lines, so that callers can spare themselves composing details.
  bool wantsDetails() const noexcept { return static_cast<bool>(sink_); }

  std::uint64_t hash() const noexcept { return hash_; }
  std::uint64_t events() const noexcept { return events_; }

 private:
  std::uint64_t hash_ = 0x243f6a8885a308d3U;
  std::uint64_t events_ = 0;
  std::function<void(Level, TimePoint, std::string_view)> sink_;
};

/// Virtual time as a story tells it: "12.345s".
std::string formatVirtual(TimePoint time);

}  // namespace vms::sim
