#include "runner/ctl/settings.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "runner/ctl/text_width.h"
#include "schema/base/files.h"
#include "schema/base/toml_config.h"

namespace vms::runner::ctl {
namespace {

constexpr std::size_t kTokenFileBytes = 4096;

std::string defaultContext() {
  const char* base = std::getenv("XDG_CONFIG_HOME");
  std::filesystem::path folder;
  if (base != nullptr && *base != '\0') {
    folder = base;
  } else if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    folder = std::filesystem::path(home) / ".config";
  } else {
    return {};
  }
  const auto file = folder / "vmsrunner" / "ctl.toml";
  std::error_code ignored;
  return std::filesystem::exists(file, ignored) ? file.string() : std::string();
}

}  // namespace

Output Settings::format() const {
  if (output == "json") return Output::Json;
  if (output == "ndjson") return Output::Ndjson;
  if (output == "csv") return Output::Csv;
  return Output::Table;
}

Colour Settings::colour() const {
  if (color == "always") return Colour::Always;
  if (color == "never") return Colour::Never;
  return Colour::Auto;
}

std::optional<Duration> Settings::timeLimit() const { return parseDuration(timeout); }

Outcome<void> completeFromContext(Settings& settings) {
  const std::string file = settings.context_file.empty() ? defaultContext() : settings.context_file;
  if (file.empty()) return {};
  auto config = TomlConfig::load(file);
  if (!config) {
    return Failure(kExitUsage, "context file: " + config.error().message +
                                   "; give a readable one with --context");
  }
  const std::string server = config->readString("server", "", "https://HOST:PORT of the engine.");
  const auto token = config->readPath("token", "", "File with the token.");
  const auto ca = config->readPath("ca", "", "PEM file with the engine's authority.");
  if (const auto read = config->finish(); !read) {
    return Failure(kExitUsage,
                   "context file: " + read.error().message + "; it takes server, token and ca");
  }
  if (settings.server.empty()) settings.server = server;
  if (settings.token_file.empty()) settings.token_file = token.string();
  if (settings.ca_file.empty()) settings.ca_file = ca.string();
  return {};
}

namespace {

/// Scripts are spared: what they read on stderr is one line, of a failure.
void warnOfOthers(const std::string& file) {
  struct stat facts {};
  if (::isatty(STDERR_FILENO) != 1 || ::stat(file.c_str(), &facts) != 0) return;
  if (!S_ISREG(facts.st_mode) || (facts.st_mode & (S_IRWXG | S_IRWXO)) == 0) return;
  std::fprintf(stderr, "vmsctl: warning: others may read token file '%s'; chmod 600 it\n",
               printable(file).c_str());
}

}  // namespace

Outcome<std::string> readToken(const std::string& file) {
  const auto content = readFile(file, kTokenFileBytes);
  if (!content) {
    return Failure(kExitUsage, "the token cannot be read: " + content.error().message +
                                   "; give a readable file with --token");
  }
  constexpr std::string_view kBlank = " \t\r\n";
  const std::size_t begin = content->find_first_not_of(kBlank);
  if (begin == std::string::npos) {
    return Failure(kExitUsage, "token file '" + file + "' is empty; write a token into it");
  }
  std::string token = content->substr(begin, content->find_last_not_of(kBlank) - begin + 1);
  if (token.find_first_of(kBlank) != std::string::npos) {
    return Failure(kExitUsage, "token file '" + file +
                                   "' holds more than one word; it must hold "
                                   "a token alone");
  }
  warnOfOthers(file);
  return token;
}

}  // namespace vms::runner::ctl
