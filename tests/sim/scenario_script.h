#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "schema/base/error.h"
#include "schema/base/time.h"

namespace vms::sim {

/// A scenario's script, taken apart; see runScenario for the language.
struct Script {
  /// One instruction; `words` begin with the verb.
  struct Step {
    int line = 0;
    Duration at{};
    /// Set: when the first bulk create leaves for that host, instead of at a time.
    std::optional<std::string> after_bulk_create;
    std::vector<std::string> words;
  };

  std::uint64_t seed = 1;
  std::size_t hosts = 1;
  std::uint64_t host_memory = std::uint64_t{8} << 30;
  std::size_t vms = 1;
  std::uint64_t vm_memory = std::uint64_t{1} << 30;
  Duration end = seconds(60);
  std::optional<std::size_t> max_open_runs;
  std::set<std::string> late;  ///< Hosts whose agents the script starts.
  std::vector<Step> steps;
};

/// "8GiB" in bytes; "1.25s" as well as what vms::parseDuration takes.
std::optional<std::uint64_t> parseScriptMemory(const std::string& word);
std::optional<Duration> parseScriptTime(const std::string& word);

/// Invalid: the message names the line and what is wrong with it.
Result<Script> parseScript(const std::string& text);

}  // namespace vms::sim
