#pragma once

#include <fmt/core.h>

#include <optional>
#include <string>
#include <string_view>

namespace vms::log {

enum class Level { Debug, Info, Warn, Error };

/// "debug", "info", "warn", "error".
std::optional<Level> parseLevel(std::string_view name) noexcept;

enum class Sink {
  Stderr,   ///< One line per message: UTC time with milliseconds, program, level, text.
  Journal,  ///< systemd's journal, with its priorities.
};

/// Call once at the start of a program, before threads. Without it, messages from Info up go to
/// stderr.
void init(std::string program, Level level, Sink sink = Sink::Stderr);
/// From any thread.
void setLevel(Level level) noexcept;
bool enabled(Level level) noexcept;

/// From any thread. Control characters in the text are escaped, so that input from outside cannot
/// forge lines. A message that cannot be written is lost, never an error.
void write(Level level, fmt::string_view format, fmt::format_args args) noexcept;

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::Debug)) write(Level::Debug, format, fmt::make_format_args(args...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::Info)) write(Level::Info, format, fmt::make_format_args(args...));
}
template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::Warn)) write(Level::Warn, format, fmt::make_format_args(args...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::Error)) write(Level::Error, format, fmt::make_format_args(args...));
}

}  // namespace vms::log
