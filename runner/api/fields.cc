#include "runner/api/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <utility>

#include "schema/base/json.h"
#include "schema/base/memory_size.h"

namespace vms::runner::api {
namespace {

std::vector<std::string> splitList(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = text.find(',');
    parts.emplace_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return parts;
}

bool isPrintable(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

json::value sorted(const json::value& value) {
  if (const auto* list = value.if_array()) {
    json::array out;
    for (const auto& item : *list) out.push_back(sorted(item));
    return out;
  }
  const auto* object = value.if_object();
  if (object == nullptr) return value;
  std::map<std::string, json::value> ordered;
  for (const auto& [key, member] : *object) {
    if (!member.is_null()) ordered.emplace(std::string(key), sorted(member));
  }
  json::object out;
  for (auto& [key, member] : ordered) out.emplace(key, std::move(member));
  return out;
}

std::string listOf(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
}

}  // namespace

Fields::Fields(json::object values, bool from_text, std::string kind)
    : values_(std::move(values)), from_text_(from_text), kind_(std::move(kind)) {}

Result<Fields> Fields::ofBody(const HttpRequest& request) {
  if (request.body.empty()) {
    return Error(ErrorClass::Invalid, "the request has no body; send a JSON object");
  }
  JsonLimits limits;
  limits.max_bytes = request.body.size();
  auto parsed = parseJson(request.body, "body", limits);
  if (!parsed) return parsed.error();
  auto* object = parsed->if_object();
  if (object == nullptr) {
    return Error(ErrorClass::Invalid, "the body must be a JSON object");
  }
  return Fields(std::move(*object), false, "field");
}

Fields Fields::ofQuery(const HttpRequest& request) {
  json::object values;
  for (const auto& [name, value] : request.query) {
    auto& member = values[name];
    // Only labels repeat, and a list of them is one text with commas.
    member = member.is_string() ? std::string(member.get_string()) + "," + value : value;
  }
  return Fields(std::move(values), true, "query parameter");
}

const json::value* Fields::find(std::string_view name) {
  known_.emplace_back(name);
  if (mistake_) return nullptr;
  const json::value* value = values_.if_contains({name.data(), name.size()});
  return value == nullptr || value->is_null() ? nullptr : value;
}

bool Fields::has(std::string_view name) const {
  const json::value* value = values_.if_contains({name.data(), name.size()});
  return value != nullptr && !value->is_null();
}

void Fields::refuse(std::string_view name, std::string_view what) {
  if (!mistake_)
    mistake_.emplace(ErrorClass::Invalid, fmt::format("{} '{}' {}", kind_, name, what));
}

std::optional<std::string> Fields::text(std::string_view name, std::size_t max_bytes) {
  const json::value* value = find(name);
  if (value == nullptr) return std::nullopt;
  const auto* text = value->if_string();
  if (text == nullptr) {
    refuse(name, "must be a text");
  } else if (text->empty()) {
    refuse(name, "is empty");
  } else if (text->size() > max_bytes) {
    const std::string most =
        max_bytes < kKiB ? std::to_string(max_bytes) : formatMemorySize(max_bytes);
    refuse(name, fmt::format("has {} bytes; at most {} are accepted", text->size(), most));
  } else {
    return std::string(*text);
  }
  return std::nullopt;
}

std::optional<std::int64_t> Fields::integer(std::string_view name, std::int64_t low,
                                            std::int64_t high) {
  const json::value* value = find(name);
  if (value == nullptr) return std::nullopt;
  std::optional<std::int64_t> number;
  if (from_text_) {
    const auto& text = value->get_string();
    std::int64_t parsed = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, parsed);
    if (error == std::errc() && stop == end) number = parsed;
  } else if (value->is_int64()) {
    number = value->get_int64();
  }
  if (!number || *number < low || *number > high) {
    refuse(name, fmt::format("must be an integer from {} to {}", low, high));
    return std::nullopt;
  }
  return number;
}

std::optional<bool> Fields::boolean(std::string_view name) {
  const json::value* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_bool()) return value->get_bool();
  if (from_text_ && value->get_string() == "true") return true;
  if (from_text_ && value->get_string() == "false") return false;
  refuse(name, "must be true or false");
  return std::nullopt;
}

std::optional<std::vector<std::string>> Fields::texts(std::string_view name,
                                                      std::size_t max_items) {
  const json::value* value = find(name);
  if (value == nullptr) return std::nullopt;
  const std::string rule =
      fmt::format("must be a list of 0 to {} texts of 1 to {} bytes each", max_items, kNameBytes);
  std::vector<std::string> texts;
  if (from_text_) {
    texts = splitList(std::string(value->get_string()));
  } else if (const auto* list = value->if_array(); list != nullptr && list->size() <= max_items) {
    for (const auto& item : *list) {
      const auto* text = item.if_string();
      texts.push_back(text == nullptr ? std::string() : std::string(*text));
    }
  } else {
    refuse(name, rule);
    return std::nullopt;
  }
  for (const std::string& text : texts) {
    if (text.empty() || text.size() > kNameBytes || !isPrintable(text)) {
      refuse(name, rule);
      return std::nullopt;
    }
  }
  return texts;
}

std::optional<std::map<std::string, std::string>> Fields::labels(std::string_view name) {
  const json::value* value = find(name);
  if (value == nullptr) return std::nullopt;
  std::map<std::string, std::string> labels;
  bool good = true;
  if (from_text_) {
    auto parsed = parseLabels(std::string(value->get_string()));
    good = parsed.has_value();
    if (good) labels = std::move(*parsed);
  } else if (const auto* object = value->if_object()) {
    for (const auto& [key, member] : *object) {
      good = good && member.is_string();
      if (good) labels.emplace(std::string(key), std::string(member.get_string()));
    }
  } else {
    good = false;
  }
  for (const auto& [key, text] : labels) {
    good = good && !key.empty() && key.size() <= 63 && text.size() <= kNameBytes &&
           isPrintable(key) && isPrintable(text) && key.find_first_of("=,") == std::string::npos;
  }
  if (good && labels.size() <= kLabels) return labels;
  refuse(name, fmt::format("must be up to {} pairs of key (1 to 63 bytes, no '=' and no ',') and "
                           "value (0 to {} bytes)",
                           kLabels, kNameBytes));
  return std::nullopt;
}

std::optional<std::string> Fields::word(std::string_view name, std::string_view words) {
  const json::value* value = find(name);
  if (value == nullptr) return std::nullopt;
  const auto* text = value->if_string();
  if (text != nullptr && !text->empty() && text->find(' ') == json::string::npos) {
    const std::string padded = fmt::format(" {} ", words);
    if (padded.find(" " + std::string(*text) + " ") != std::string::npos) return std::string(*text);
  }
  std::string list(words);
  std::replace(list.begin(), list.end(), ' ', '|');
  refuse(name, "must be " + list);
  return std::nullopt;
}

Result<void> Fields::finish() const {
  if (mistake_) return *mistake_;
  for (const auto& [name, value] : values_) {
    if (std::find(known_.begin(), known_.end(), std::string_view(name)) == known_.end()) {
      return Error(ErrorClass::Invalid, fmt::format("unknown {} '{}'; known here: {}", kind_,
                                                    std::string_view(name), listOf(known_)));
    }
  }
  return {};
}

std::string Fields::canonical() const { return json::serialize(sorted(values_)); }

SettingFields readSettings(Fields& fields, std::string_view labels_name) {
  SettingFields settings;
  if (const auto priority = fields.integer("priority", 0, 100)) {
    settings.priority = static_cast<int>(*priority);
  }
  if (const auto ha = fields.word("ha", "off restart")) {
    settings.ha = *ha == "restart" ? HaPolicy::Restart : HaPolicy::Off;
  }
  if (const auto tier = fields.integer("tier", 0, 9)) settings.tier = static_cast<int>(*tier);
  settings.after = fields.texts("after", 64);
  if (const auto gate = fields.text("gate", 32)) {
    settings.gate = parseGate(*gate);
    if (!settings.gate) {
      fields.refuse("gate", "must be running, guest-agent or delay:TIME up to 1h, as delay:30s");
    }
  }
  settings.labels = fields.labels(labels_name);
  return settings;
}

std::optional<Gate> parseGate(std::string_view text) {
  constexpr std::string_view kDelay = "delay:";
  Gate gate;
  if (text == "running") return gate;
  if (text == "guest-agent") {
    gate.kind = Gate::Kind::GuestAgent;
    return gate;
  }
  if (!text.starts_with(kDelay)) return std::nullopt;
  const auto delay = parseDuration(text.substr(kDelay.size()));
  if (!delay || *delay <= Duration::zero() || *delay > std::chrono::hours(1)) return std::nullopt;
  gate.kind = Gate::Kind::Delay;
  gate.delay = *delay;
  return gate;
}

std::string formatGate(const Gate& gate) {
  if (gate.kind == Gate::Kind::Running) return "running";
  if (gate.kind == Gate::Kind::GuestAgent) return "guest-agent";
  return "delay:" + formatDuration(gate.delay);
}

std::string_view nameOf(HaPolicy ha) noexcept {
  return ha == HaPolicy::Restart ? "restart" : "off";
}

std::optional<std::map<std::string, std::string>> parseLabels(std::string_view text) {
  std::map<std::string, std::string> labels;
  for (const std::string& pair : splitList(text)) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) return std::nullopt;
    if (!labels.emplace(pair.substr(0, equals), pair.substr(equals + 1)).second)
      return std::nullopt;
  }
  return labels;
}

}  // namespace vms::runner::api
