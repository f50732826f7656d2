#include "schema/base/config_key.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace vms {
namespace {

/// How many single-character edits turn `a` into `b`.
std::size_t editDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string toMarkdown(const std::vector<ConfigKey>& keys) {
  std::string text =
      "| key | type | default | allowed | SIGHUP | meaning |\n|---|---|---|---|---|---|\n";
  for (const ConfigKey& key : keys) {
    text += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", key.key, key.type,
                        key.default_value.empty() ? "" : "`" + key.default_value + "`", key.range,
                        key.on_reload, key.text);
  }
  return text;
}

std::string configReference(std::string_view program, const std::vector<ConfigKey>& keys) {
  std::string text = fmt::format(
      "# Configuration of {0}\n\n"
      "Printed by `{0} --config-reference`. The file is TOML and is given with `--config FILE`;\n"
      "`{0} --config FILE --check-config` says whether it is valid.\n\n"
      "* A duration is written as `\"250ms\"`, `\"10s\"`, `\"5m\"`, `\"2h\"` or `\"7d\"`, a size "
      "as "
      "`\"64KiB\"`, `\"512MiB\"` or `\"4GiB\"`.\n"
      "* A relative path starts at the folder of the file.\n"
      "* An unknown key, or a value that is not allowed, stops the start with file, line and key.\n"
      "* SIGHUP: `value` is read again and used; `content` means that the file which the key names "
      "is "
      "read again,\n  while another name needs a restart. Everything else needs a restart.\n",
      program);
  std::vector<ConfigKey> section;
  const auto nameOf = [](const ConfigKey& key) { return key.key.substr(0, key.key.find('.')); };
  for (std::size_t i = 0; i < keys.size(); ++i) {
    section.push_back(keys[i]);
    if (i + 1 < keys.size() && nameOf(keys[i + 1]) == nameOf(keys[i])) continue;
    text += fmt::format("\n## [{}]\n{}", nameOf(keys[i]), toMarkdown(section));
    section.clear();
  }
  return text;
}

std::string restartNote(const std::vector<ConfigKey>& before, const std::vector<ConfigKey>& now) {
  std::vector<std::string> changed;
  for (const ConfigKey& key : now) {
    const auto old = std::find_if(before.begin(), before.end(),
                                  [&](const ConfigKey& each) { return each.key == key.key; });
    const bool same = old != before.end() && old->value == key.value;
    if (!same && key.on_reload != "value") changed.push_back(key.key);
  }
  if (changed.empty()) return {};
  return fmt::format("; {} changed and {} a restart", fmt::join(changed, ", "),
                     changed.size() == 1 ? "needs" : "need");
}

std::string nearestKey(const std::vector<ConfigKey>& keys, std::string_view key) {
  std::string best;
  std::size_t limit = 1 + key.size() / 3;
  for (const ConfigKey& known : keys) {
    const std::size_t distance = editDistance(key, known.key);
    if (distance >= limit) continue;
    limit = distance;
    best = known.key;
  }
  return best;
}

}  // namespace vms
