#include "tests/sim/sim_trace.h"

#include <cstdio>
#include <utility>

namespace vms::sim {

void Trace::mix(std::uint64_t value) noexcept {
  std::uint64_t z = hash_ ^ value;
  z += 0x9e3779b97f4a7c15U;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
  hash_ = z ^ (z >> 31U);
  ++events_;
}

void Trace::mix(std::string_view text) noexcept {
  std::uint64_t fnv = 0xcbf29ce484222325U;
  for (const char c : text) {
    fnv ^= static_cast<unsigned char>(c);
    fnv *= 0x100000001b3U;
  }
  mix(fnv);
}

void Trace::line(Level level, TimePoint now, std::string_view text) {
  mix(static_cast<std::uint64_t>(now.since_start.count()));
  mix(text);
  if (sink_) sink_(level, now, text);
}

void Trace::setSink(std::function<void(Level, TimePoint, std::string_view)> sink) {
  sink_ = std::move(sink);
}

std::string formatVirtual(TimePoint time) {
  const long long ms = static_cast<long long>(toMs(time.since_start));
  char text[40];
  std::snprintf(text, sizeof text, "%lld.%03llds", ms / 1000, ms % 1000);
  return text;
}

}  // namespace vms::sim
