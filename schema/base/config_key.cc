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
  std::string text = "| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n";
  for (const ConfigKey& key : keys) {
    text += fmt::format("| `{}` | {} | {} | {} | {} |\n", key.key, key.type,
                        key.default_value.empty() ? "" : "`" + key.default_value + "`", key.range,
                        key.text);
  }
  return text;
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
