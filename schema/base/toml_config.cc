#include "schema/base/toml_config.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "schema/base/files.h"
#include "schema/base/memory_size.h"

namespace vms {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{1} << 20U;
constexpr std::size_t kMaxStringBytes = 4096;

struct Problem {
  std::size_t line;
  std::string text;
  auto operator<=>(const Problem&) const = default;
};

std::size_t lineOf(const toml::node& node) { return node.source().begin.line; }

std::string describe(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string:
      return "string '" + node.as_string()->get() + "'";
    case toml::node_type::integer:
      return "integer " + std::to_string(node.as_integer()->get());
    case toml::node_type::floating_point:
      return fmt::format("number {}", node.as_floating_point()->get());
    case toml::node_type::boolean:
      return node.as_boolean()->get() ? "true" : "false";
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "an array";
    default:
      return "a date or time";
  }
}

std::string textOf(const toml::node& node) {
  std::ostringstream text;
  node.visit([&](const auto& typed) { text << typed; });
  return text.str();
}

std::string inQuotes(std::string_view text) { return fmt::format("\"{}\"", text); }

std::string join(const std::vector<std::string>& words, std::string_view separator) {
  return fmt::format("{}", fmt::join(words, separator));
}

}  // namespace

/// Shared by the reader of the file and the readers of its lists of tables.
struct TomlConfig::Document {
  /// One table of a [[list]] that has a reader; the file itself is the first.
  struct ListedTable {
    const toml::table* table;
    std::string prefix;
    std::string doc_prefix;
  };

  std::string name;
  std::filesystem::path folder;
  toml::table root;
  bool documenting = false;
  std::set<const toml::node*> read;
  std::set<Problem> problems;
  std::vector<ConfigKey> keys;
  std::vector<ListedTable> listed;

  void complain(std::size_t line, std::string_view key, std::string_view what) {
    problems.insert({line, fmt::format("{}:{}: key '{}': {}", name, line, key, what)});
  }

  void document(ConfigKey key) {
    for (const ConfigKey& known : keys) {
      if (known.key == key.key) return;
    }
    keys.push_back(std::move(key));
  }

  void refuseUnread(const ListedTable& within, const toml::table& table,
                    const std::string& parents) {
    for (const auto& [name_part, node] : table) {
      const std::string key = parents + std::string(name_part.str());
      if (read.contains(&node)) continue;
      if (const toml::table* inner = node.as_table(); inner != nullptr && !inner->empty()) {
        refuseUnread(within, *inner, key + ".");
        continue;
      }
      const std::string nearest = nearestKey(keys, within.doc_prefix + key);
      complain(lineOf(node), within.prefix + key,
               nearest.empty() ? "unknown key; remove it or see the configuration reference"
                               : fmt::format("unknown key; did you mean '{}'?", nearest));
    }
  }
};

struct TomlConfig::Section {
  std::shared_ptr<Document> document;
  const toml::table* table;
  std::string prefix;      ///< In messages: "hosts[2]."
  std::string doc_prefix;  ///< In documentation: "hosts[]."

  /// The node at a dotted key below this section, marked as read.
  const toml::node* take(std::string_view key) {
    const toml::node* node = find(key);
    if (node != nullptr) document->read.insert(node);
    return node;
  }

  const toml::node* find(std::string_view key) const {
    const toml::table* current = table;
    for (;;) {
      const std::size_t dot = key.find('.');
      const toml::node* node = current->get(key.substr(0, dot));
      if (node == nullptr || dot == std::string_view::npos) return node;
      current = node->as_table();
      if (current == nullptr) return nullptr;
      key.remove_prefix(dot + 1);
    }
  }

  void complain(const toml::node* node, std::string_view key, std::string_view what) {
    document->complain(node != nullptr ? lineOf(*node) : lineOf(*table), prefix + std::string(key),
                       what);
  }

  void describeKey(std::string_view key, std::string_view type, std::string default_value,
                   std::string range, std::string_view text) {
    const toml::node* const node = find(key);
    std::string value = node != nullptr ? textOf(*node) : default_value;
    document->document({doc_prefix + std::string(key), std::string(type), std::move(default_value),
                        std::move(range), std::string(text), "", std::move(value)});
  }

  void documentReload(std::string_view key, std::string_view what) {
    for (ConfigKey& known : document->keys) {
      if (known.key == doc_prefix + std::string(key)) known.on_reload = what;
    }
  }

  /// A string value that `parse` turns into T within [min, max]; nothing when absent or wrong.
  std::optional<std::string> takeString(std::string_view key, std::string_view allowed) {
    const toml::node* const node = take(key);
    if (node == nullptr) return std::nullopt;
    const auto* const value = node->as_string();
    if (value == nullptr) {
      complain(node, key, fmt::format("{} is not {}", describe(*node), allowed));
      return std::nullopt;
    }
    if (value->get().size() > kMaxStringBytes || value->get().find('\0') != std::string::npos) {
      complain(node, key, fmt::format("longer than {} bytes or with a NUL byte", kMaxStringBytes));
      return std::nullopt;
    }
    return value->get();
  }

  template <class T>
  T limited(std::string_view key, std::optional<T> value, T default_value, T min, T max,
            std::string_view allowed) {
    const toml::node* const node = find(key);
    if (value && *value >= min && *value <= max) return *value;
    complain(node, key, fmt::format("{} is not allowed; write {}", describe(*node), allowed));
    return default_value;
  }

  std::filesystem::path absolute(std::string_view value) const {
    if (value.empty()) return {};
    const std::filesystem::path path(value);
    return (path.is_relative() ? document->folder / path : path).lexically_normal();
  }
};

TomlConfig::TomlConfig(std::unique_ptr<Section> section) : section_(std::move(section)) {}
TomlConfig::TomlConfig(TomlConfig&&) noexcept = default;
TomlConfig& TomlConfig::operator=(TomlConfig&&) noexcept = default;
TomlConfig::~TomlConfig() = default;

Result<TomlConfig> TomlConfig::load(const std::filesystem::path& file) {
  Result<std::string> text = readFile(file, kMaxFileBytes);
  if (!text) {
    return Error(text.error().error_class, "configuration: " + text.error().message +
                                               "; name a readable TOML file with --config");
  }
  Result<TomlConfig> config = parse(*text, file.string());
  if (config) {
    std::error_code ignored;  // without a current folder, relative paths stay relative
    config->section_->document->folder = std::filesystem::absolute(file, ignored).parent_path();
  }
  return config;
}

Result<TomlConfig> TomlConfig::parse(std::string_view text, std::string_view name) {
  auto document = std::make_shared<Document>();
  document->name = std::string(name);
  try {
    document->root = toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    return Error(ErrorClass::Invalid,
                 fmt::format("{}:{}:{}: not valid TOML: {}", name, error.source().begin.line,
                             error.source().begin.column, error.description()));
  }
  document->listed.push_back({&document->root, "", ""});
  auto section = std::make_unique<Section>();
  section->table = &document->root;
  section->document = std::move(document);
  return TomlConfig(std::move(section));
}

TomlConfig TomlConfig::forDocumentation() {
  TomlConfig config = *parse("", "documentation");
  config.section_->document->documenting = true;
  return config;
}

std::int64_t TomlConfig::readInt(std::string_view key, std::int64_t default_value, std::int64_t min,
                                 std::int64_t max, std::string_view text) {
  const std::string allowed = fmt::format("an integer from {} to {}", min, max);
  section_->describeKey(key, "integer", std::to_string(default_value),
                        fmt::format("{} to {}", min, max), text);
  const toml::node* const node = section_->take(key);
  if (node == nullptr) return default_value;
  const auto* const value = node->as_integer();
  return section_->limited<std::int64_t>(
      key, value != nullptr ? std::optional(value->get()) : std::nullopt, default_value, min, max,
      allowed);
}

double TomlConfig::readNumber(std::string_view key, double default_value, double min, double max,
                              std::string_view text) {
  const std::string allowed = fmt::format("a number from {} to {}", min, max);
  section_->describeKey(key, "number", fmt::format("{:#}", default_value),
                        fmt::format("{} to {}", min, max), text);
  const toml::node* const node = section_->take(key);
  if (node == nullptr) return default_value;
  const bool is_number = node->is_number();
  return section_->limited<double>(key, is_number ? node->value<double>() : std::nullopt,
                                   default_value, min, max, allowed);
}

bool TomlConfig::readBool(std::string_view key, bool default_value, std::string_view text) {
  section_->describeKey(key, "boolean", default_value ? "true" : "false", "", text);
  const toml::node* const node = section_->take(key);
  if (node == nullptr) return default_value;
  if (const auto* const value = node->as_boolean()) return value->get();
  section_->complain(node, key, describe(*node) + " is not allowed; write true or false");
  return default_value;
}

Duration TomlConfig::readDuration(std::string_view key, Duration default_value, Duration min,
                                  Duration max, std::string_view text) {
  const std::string range = formatDuration(min) + " to " + formatDuration(max);
  section_->describeKey(key, "duration", inQuotes(formatDuration(default_value)), range, text);
  const std::string allowed = "a duration such as \"250ms\", \"30s\" or \"5m\", from " + range;
  const auto value = section_->takeString(key, allowed);
  if (!value) return default_value;
  return section_->limited<Duration>(key, parseDuration(*value), default_value, min, max, allowed);
}

std::uint64_t TomlConfig::readSize(std::string_view key, std::uint64_t default_value,
                                   std::uint64_t min, std::uint64_t max, std::string_view text) {
  const std::string range = formatMemorySize(min) + " to " + formatMemorySize(max);
  section_->describeKey(key, "size", inQuotes(formatMemorySize(default_value)), range, text);
  const std::string allowed = "a size such as \"64KiB\", \"512MiB\" or \"4GiB\", from " + range;
  const auto value = section_->takeString(key, allowed);
  if (!value) return default_value;
  return section_->limited<std::uint64_t>(key, parseMemorySize(*value), default_value, min, max,
                                          allowed);
}

std::string TomlConfig::readString(std::string_view key, std::string_view default_value,
                                   std::string_view text) {
  section_->describeKey(key, "string", inQuotes(default_value), "", text);
  return section_->takeString(key, "a string").value_or(std::string(default_value));
}

std::string TomlConfig::readChoice(std::string_view key, std::string_view default_value,
                                   const std::vector<std::string>& allowed, std::string_view text) {
  const std::string list = join(allowed, ", ");
  section_->describeKey(key, "string", inQuotes(default_value), list, text);
  const auto value = section_->takeString(key, "one of " + list);
  if (!value) return std::string(default_value);
  if (std::find(allowed.begin(), allowed.end(), *value) != allowed.end()) return *value;
  section_->complain(section_->find(key), key,
                     fmt::format("'{}' is not allowed; write one of {}", *value, list));
  return std::string(default_value);
}

std::filesystem::path TomlConfig::readPath(std::string_view key, std::string_view default_value,
                                           std::string_view text) {
  section_->describeKey(key, "path", inQuotes(default_value), "", text);
  const auto value = section_->takeString(key, "a path");
  return section_->absolute(value ? std::string_view(*value) : default_value);
}

std::vector<std::string> TomlConfig::readStrings(std::string_view key,
                                                 const std::vector<std::string>& default_value,
                                                 std::size_t max_items, std::string_view text) {
  std::vector<std::string> quoted_defaults;
  for (const std::string& item : default_value) quoted_defaults.push_back(inQuotes(item));
  section_->describeKey(key, "list of strings", "[" + join(quoted_defaults, ", ") + "]",
                        fmt::format("at most {} strings", max_items), text);
  const toml::node* const node = section_->take(key);
  if (node == nullptr) return default_value;
  const std::string allowed = fmt::format(
      "write a list of at most {} strings of at most {} bytes each", max_items, kMaxStringBytes);
  const toml::array* const items = node->as_array();
  if (items == nullptr || items->size() > max_items) {
    section_->complain(node, key,
                       items == nullptr ? describe(*node) + " is not a list; " + allowed
                                        : fmt::format("{} items; {}", items->size(), allowed));
    return default_value;
  }
  std::vector<std::string> values;
  for (const toml::node& item : *items) {
    const auto* const value = item.as_string();
    if (value == nullptr || value->get().size() > kMaxStringBytes) {
      section_->complain(&item, key, describe(item) + " is not allowed; " + allowed);
      return default_value;
    }
    values.push_back(value->get());
  }
  return values;
}

std::string TomlConfig::requireString(std::string_view key, std::string_view text) {
  section_->describeKey(key, "string", "", "required", text);
  const toml::node* const present = section_->find(key);
  std::string value = section_->takeString(key, "a string").value_or("");
  const bool wrong_type = present != nullptr && !present->is_string();
  if (value.empty() && !wrong_type && !section_->document->documenting) {
    section_->complain(
        present, key,
        fmt::format("required and {}; set it: {}", present == nullptr ? "missing" : "empty", text));
  }
  return value;
}

std::filesystem::path TomlConfig::requirePath(std::string_view key, std::string_view text) {
  section_->describeKey(key, "path", "", "required", text);
  return section_->absolute(requireString(key, text));
}

std::vector<TomlConfig> TomlConfig::readTables(std::string_view key, std::size_t max_items,
                                               std::string_view text) {
  static const toml::table empty_table;
  section_->describeKey(key, "list of tables", "[]", fmt::format("at most {} tables", max_items),
                        text);
  const auto reader = [&](const toml::table& table, std::size_t index) {
    auto section = std::make_unique<Section>();
    section->document = section_->document;
    section->table = &table;
    section->prefix = fmt::format("{}{}[{}].", section_->prefix, key, index);
    section->doc_prefix = fmt::format("{}{}[].", section_->doc_prefix, key);
    section->document->listed.push_back({&table, section->prefix, section->doc_prefix});
    return TomlConfig(std::move(section));
  };
  std::vector<TomlConfig> readers;
  if (section_->document->documenting) readers.push_back(reader(empty_table, 0));
  const toml::node* const node = section_->take(key);
  if (node == nullptr) return readers;
  const toml::array* const items = node->as_array();
  if (items == nullptr || items->size() > max_items) {
    section_->complain(
        node, key,
        fmt::format("write at most {} tables [[{}{}]]", max_items, section_->prefix, key));
    return readers;
  }
  for (const toml::node& item : *items) {
    if (const toml::table* const table = item.as_table()) {
      readers.push_back(reader(*table, readers.size()));
    } else {
      section_->complain(&item, key, describe(item) + " is not a table");
    }
  }
  return readers;
}

void TomlConfig::reloadsValue(std::string_view key) { section_->documentReload(key, "value"); }

void TomlConfig::reloadsContent(std::string_view key) { section_->documentReload(key, "content"); }

bool TomlConfig::has(std::string_view key) const { return section_->find(key) != nullptr; }

void TomlConfig::fail(std::string_view key, std::string_view what) {
  section_->complain(section_->find(key), key, what);
}

Result<void> TomlConfig::finish() {
  Document& document = *section_->document;
  for (const auto& listed : document.listed) document.refuseUnread(listed, *listed.table, "");
  const std::vector<std::string> all = errors();
  if (all.empty()) return {};
  std::string message = all.front();
  if (all.size() > 1) message += fmt::format(" (and {} more)", all.size() - 1);
  return Error(ErrorClass::Invalid, std::move(message));
}

std::vector<std::string> TomlConfig::errors() const {
  std::vector<std::string> texts;
  for (const Problem& problem : section_->document->problems) texts.push_back(problem.text);
  return texts;
}

const std::vector<ConfigKey>& TomlConfig::keys() const { return section_->document->keys; }

}  // namespace vms
