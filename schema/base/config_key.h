#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vms {

/// What the reference documentation says about one key of a configuration file.
struct ConfigKey {
  std::string key;            ///< "section.name"; "list[].name" inside a list of tables.
  std::string type;           ///< integer, number, boolean, string, path, duration, size, ...
  std::string default_value;  ///< As written in TOML; empty when the key is required.
  std::string range;          ///< What is allowed, in words; empty when everything is.
  std::string text;
  std::string on_reload{};  ///< What SIGHUP reads again: "value", "content"; empty: nothing.
  std::string value{};      ///< In this file, as TOML; the default when the key is absent.
};

/// A Markdown table of `keys`, one row each.
std::string toMarkdown(const std::vector<ConfigKey>& keys);

/// The reference page of a program's configuration: an introduction and a table per section.
std::string configReference(std::string_view program, const std::vector<ConfigKey>& keys);

/// For a report of a reload, the end of a sentence: "; agents.listen, store.reserve changed and
/// need a restart", of all keys that differ and are not taken over; or nothing.
std::string restartNote(const std::vector<ConfigKey>& before, const std::vector<ConfigKey>& now);

/// The known key that a misspelt one most likely meant; empty when none is near.
std::string nearestKey(const std::vector<ConfigKey>& keys, std::string_view key);

}  // namespace vms
