#include "tests/sim/scenario_script.h"

#include <charconv>
#include <sstream>
#include <utility>

namespace vms::sim {

namespace {

std::vector<std::string> wordsOf(const std::string& line) {
  std::istringstream in(line.substr(0, line.find('#')));
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

std::optional<std::uint64_t> parseNumber(const std::string& text) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || rest != end) return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::uint64_t> parseScriptMemory(const std::string& word) {
  const std::string suffix = "GiB";
  if (word.size() <= suffix.size() || word.substr(word.size() - suffix.size()) != suffix) return {};
  const auto count = parseNumber(word.substr(0, word.size() - suffix.size()));
  if (!count) return {};
  return *count << 30U;
}

std::optional<Duration> parseScriptTime(const std::string& word) {
  if (const auto whole = parseDuration(word)) return whole;
  const std::size_t dot = word.find('.');
  if (dot == std::string::npos || word.back() != 's') return std::nullopt;
  const auto integer = parseNumber(word.substr(0, dot));
  std::string fraction = word.substr(dot + 1, word.size() - dot - 2);
  if (!integer || fraction.empty() || fraction.size() > 3) return std::nullopt;
  fraction.resize(3, '0');
  const auto ms = parseNumber(fraction);
  if (!ms) return std::nullopt;
  return milliseconds(*integer * 1000 + *ms);
}

namespace {

/// What comes before everything else; nothing: the line is something else or wrong.
bool takeSetting(Script& script, const std::vector<std::string>& words) {
  if (words.size() < 2) return false;
  if (words[0] == "end") {
    const auto end = parseScriptTime(words[1]);
    if (end) script.end = *end;
    return end.has_value();
  }
  if (words[0] == "late") {
    script.late.insert(words.begin() + 1, words.end());
    return true;
  }
  const auto number = parseNumber(words[1]);
  if (!number) return false;
  if (words[0] == "seed") {
    script.seed = *number;
    return words.size() == 2;
  }
  std::optional<std::uint64_t> memory;
  const std::string prefix = "memory=";
  if (words.size() == 3 && words[2].rfind(prefix, 0) == 0) {
    memory = parseScriptMemory(words[2].substr(prefix.size()));
  }
  if (words.size() > 3 || (words.size() == 3 && !memory)) return false;
  if (words[0] == "max-open-runs") {
    script.max_open_runs = static_cast<std::size_t>(*number);
    return words.size() == 2;
  }
  if (words[0] == "hosts") {
    script.hosts = static_cast<std::size_t>(*number);
    if (memory) script.host_memory = *memory;
    return *number > 0;
  }
  if (words[0] == "vms") {
    script.vms = static_cast<std::size_t>(*number);
    if (memory) script.vm_memory = *memory;
    return *number > 0;
  }
  return false;
}

}  // namespace

Result<Script> parseScript(const std::string& text) {
  Script script;
  std::istringstream in(text);
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    const std::vector<std::string> words = wordsOf(line);
    if (words.empty() || takeSetting(script, words)) continue;
    Script::Step step;
    step.line = number;
    if (words[0] == "when" && words.size() > 3 && words[1] == "bulk-create") {
      step.after_bulk_create = words[2];
      step.words.assign(words.begin() + 3, words.end());
    } else {
      const auto at = parseScriptTime(words[0]);
      if (!at || words.size() < 2) {
        return Error{ErrorClass::Invalid,
                     "script line " + std::to_string(number) + ": cannot read '" + line + "'"};
      }
      step.at = *at;
      step.words.assign(words.begin() + 1, words.end());
    }
    script.steps.push_back(std::move(step));
  }
  return script;
}

}  // namespace vms::sim
