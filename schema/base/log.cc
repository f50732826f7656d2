#include "schema/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/systemd_sink.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <memory>
#include <utility>

namespace vms::log {
namespace {

spdlog::level::level_enum toSpdlog(Level level) noexcept {
  switch (level) {
    case Level::Debug:
      return spdlog::level::debug;
    case Level::Info:
      return spdlog::level::info;
    case Level::Warn:
      return spdlog::level::warn;
    case Level::Error:
      break;
  }
  return spdlog::level::err;
}

std::shared_ptr<spdlog::logger> makeLogger(std::string program, Sink sink) {
  spdlog::sink_ptr target;
  if (sink == Sink::Journal) {
    target = std::make_shared<spdlog::sinks::systemd_sink_mt>(program);
  } else {
    target = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  }
  auto logger = std::make_shared<spdlog::logger>(std::move(program), std::move(target));
  logger->set_level(spdlog::level::trace);  // `enabled` decides
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %n %l: %v", spdlog::pattern_time_type::utc);
  return logger;
}

std::atomic<Level> g_level = Level::Info;

std::shared_ptr<spdlog::logger>& logger() {
  static std::shared_ptr<spdlog::logger> instance = makeLogger("vms", Sink::Stderr);
  return instance;
}

void escapeControls(const fmt::memory_buffer& from, fmt::memory_buffer& to) {
  for (const char c : from) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      fmt::format_to(fmt::appender(to), "\\x{:02x}", byte);
    } else {
      to.push_back(c);
    }
  }
}

}  // namespace

std::optional<Level> parseLevel(std::string_view name) noexcept {
  if (name == "debug") return Level::Debug;
  if (name == "info") return Level::Info;
  if (name == "warn") return Level::Warn;
  if (name == "error") return Level::Error;
  return std::nullopt;
}

void init(std::string program, Level level, Sink sink) {
  logger() = makeLogger(std::move(program), sink);
  setLevel(level);
}

void setLevel(Level level) noexcept { g_level.store(level, std::memory_order_relaxed); }

bool enabled(Level level) noexcept { return level >= g_level.load(std::memory_order_relaxed); }

void write(Level level, fmt::string_view format, fmt::format_args args) noexcept {
  try {
    fmt::memory_buffer raw;
    fmt::vformat_to(fmt::appender(raw), format, args);
    fmt::memory_buffer text;
    escapeControls(raw, text);
    logger()->log(toSpdlog(level), spdlog::string_view_t(text.data(), text.size()));
    if (level == Level::Error) logger()->flush();
  } catch (...) {
    // Nobody to tell: the log is where failures are told.
  }
}

}  // namespace vms::log
