#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/api/http_server.h"
#include "runner/records.h"
#include "schema/base/error.h"

namespace vms::runner::api {

namespace json = boost::json;

constexpr std::size_t kNameBytes = 255;
constexpr std::size_t kListItems = 50'000;
constexpr std::size_t kLabels = 64;

/// Named values of a request, read strictly: a wrong type, a value out of range and a name that
/// nobody asked for are refused by name. The first mistake is kept and later reads return nothing,
/// so that a handler reads all it knows and then asks `finish` once.
class Fields {
 public:
  /// Of a JSON body. Invalid: no object, a syntax error, a key twice.
  static Result<Fields> ofBody(const HttpRequest& request);
  /// Of the query; names have been checked (checkQueryNames).
  static Fields ofQuery(const HttpRequest& request);

  std::optional<std::string> text(std::string_view name, std::size_t max_bytes = kNameBytes);
  std::optional<std::int64_t> integer(std::string_view name, std::int64_t low, std::int64_t high);
  std::optional<bool> boolean(std::string_view name);
  std::optional<std::vector<std::string>> texts(std::string_view name,
                                                std::size_t max_items = kListItems);
  std::optional<std::map<std::string, std::string>> labels(std::string_view name);
  /// One of `words`, separated by blanks.
  std::optional<std::string> word(std::string_view name, std::string_view words);

  /// Notes a mistake that the caller found in a value.
  void refuse(std::string_view name, std::string_view what);
  bool has(std::string_view name) const;
  /// The first mistake, or the unknown names.
  Result<void> finish() const;

  /// The body with sorted keys and without blanks; what an idempotency key must go with (S23).
  std::string canonical() const;

 private:
  Fields(json::object values, bool from_text, std::string kind);
  const json::value* find(std::string_view name);

  json::object values_;
  bool from_text_;  ///< Values of a query are text, lists and numbers too.
  std::string kind_;
  std::vector<std::string> known_;
  std::optional<Error> mistake_;
};

/// The settings that define and change a VM have in common: priority, ha, tier, after, gate,
/// labels.
struct SettingFields {
  std::optional<int> priority;
  std::optional<HaPolicy> ha;
  std::optional<int> tier;
  std::optional<std::vector<std::string>> after;
  std::optional<Gate> gate;
  std::optional<std::map<std::string, std::string>> labels;
};
/// `labels_name`: "labels" in bodies, "label" in queries.
SettingFields readSettings(Fields& fields, std::string_view labels_name);

/// "running", "guest-agent", "delay:30s".
std::optional<Gate> parseGate(std::string_view text);
std::string formatGate(const Gate& gate);
std::string_view nameOf(HaPolicy ha) noexcept;

/// "k=v,k2=v2".
std::optional<std::map<std::string, std::string>> parseLabels(std::string_view text);

}  // namespace vms::runner::api
