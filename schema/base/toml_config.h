#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "schema/base/config_key.h"
#include "schema/base/error.h"
#include "schema/base/time.h"

namespace vms {

/// Reads one TOML file key by key, strictly.
///
/// Each `read…` returns the file's value, or the default when the key is absent. A value that is
/// wrong is remembered and answered with the default, so that a reader fills a whole struct without
/// a check per line; `finish()` then tells what was wrong, and refuses every key that nobody read.
/// All messages have the form "FILE:LINE: key 'a.b': what is wrong and what is allowed".
///
/// Reading a key also documents it: `keys()` is the reference, generated from the code.
class TomlConfig {
 public:
  /// NotFound, Forbidden: the file, named. Invalid: not TOML, with line and column.
  static Result<TomlConfig> load(const std::filesystem::path& file);
  /// `name` stands for the file in messages.
  static Result<TomlConfig> parse(std::string_view text, std::string_view name);
  /// A reader for documentation: nothing is missing and every list of tables has one entry.
  static TomlConfig forDocumentation();

  TomlConfig(TomlConfig&&) noexcept;
  TomlConfig& operator=(TomlConfig&&) noexcept;
  ~TomlConfig();

  std::int64_t readInt(std::string_view key, std::int64_t default_value, std::int64_t min,
                       std::int64_t max, std::string_view text);
  double readNumber(std::string_view key, double default_value, double min, double max,
                    std::string_view text);
  bool readBool(std::string_view key, bool default_value, std::string_view text);
  /// "10s"; see parseDuration.
  Duration readDuration(std::string_view key, Duration default_value, Duration min, Duration max,
                        std::string_view text);
  /// "4GiB" to bytes; see parseMemorySize.
  std::uint64_t readSize(std::string_view key, std::uint64_t default_value, std::uint64_t min,
                         std::uint64_t max, std::string_view text);
  /// At most 4096 bytes, as is every string below.
  std::string readString(std::string_view key, std::string_view default_value,
                         std::string_view text);
  std::string readChoice(std::string_view key, std::string_view default_value,
                         const std::vector<std::string>& allowed, std::string_view text);
  /// A relative path starts at the file's folder. An empty default stays empty.
  std::filesystem::path readPath(std::string_view key, std::string_view default_value,
                                 std::string_view text);
  std::vector<std::string> readStrings(std::string_view key,
                                       const std::vector<std::string>& default_value,
                                       std::size_t max_items, std::string_view text);

  /// As above, without a default: an absent or empty value is an error.
  std::string requireString(std::string_view key, std::string_view text);
  std::filesystem::path requirePath(std::string_view key, std::string_view text);

  /// The tables of [[key]], each read like a file of its own; their errors and keys count here.
  std::vector<TomlConfig> readTables(std::string_view key, std::size_t max_items,
                                     std::string_view text);

  /// Documents that SIGHUP reads the value of `key` again, or the content of the file that it
  /// names. After the key was read.
  void reloadsValue(std::string_view key);
  void reloadsContent(std::string_view key);

  bool has(std::string_view key) const;
  /// For checks across keys: remembers "FILE:LINE: key 'a.b': <what>".
  void fail(std::string_view key, std::string_view what);

  /// Invalid, with the first error and how many there are, if a value was wrong, a required key
  /// absent or a key unknown. Call once all keys have been read.
  Result<void> finish();
  /// All errors, by line; complete after finish().
  std::vector<std::string> errors() const;
  /// Everything read so far, in order of reading, each key once.
  const std::vector<ConfigKey>& keys() const;

 private:
  struct Document;
  struct Section;
  explicit TomlConfig(std::unique_ptr<Section> section);

  std::unique_ptr<Section> section_;
};

}  // namespace vms
