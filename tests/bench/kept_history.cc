#include "tests/bench/kept_history.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>
#include <string>
#include <system_error>

#include "schema/base/files.h"
#include "schema/base/json.h"

namespace vms::bench {
namespace {

constexpr std::size_t kMaxBytes = 4096;

std::filesystem::path fileIn(const std::filesystem::path& folder) {
  return folder / "history.json";
}

}  // namespace

Result<void> writeKept(const std::filesystem::path& folder, const KeptHistory& kept) {
  json::object object;
  object["attempts"] = kept.shape.attempts;
  object["hosts"] = kept.shape.hosts;
  object["vms"] = kept.shape.vms;
  object["per_host_day"] = kept.shape.per_host_day;
  object["seed"] = kept.shape.seed;
  object["end_ms"] = kept.end.unix_ms;
  return writeFileAtomically(fileIn(folder), json::serialize(object) + "\n");
}

Result<KeptHistory> readKept(const std::filesystem::path& folder) {
  const std::string next_step = "; fill one with --keep-dir";
  const auto text = readFile(fileIn(folder), kMaxBytes);
  if (!text) return Error(text.error().error_class, text.error().message + next_step);
  const auto value = parseJson(*text, fileIn(folder).string());
  if (!value) return value.error();
  try {
    const json::object& object = value->as_object();
    KeptHistory kept;
    kept.shape.attempts = json::value_to<std::uint64_t>(object.at("attempts"));
    kept.shape.hosts = json::value_to<std::uint32_t>(object.at("hosts"));
    kept.shape.vms = json::value_to<std::uint32_t>(object.at("vms"));
    kept.shape.per_host_day = json::value_to<std::uint32_t>(object.at("per_host_day"));
    kept.shape.seed = json::value_to<std::uint64_t>(object.at("seed"));
    kept.end.unix_ms = json::value_to<std::int64_t>(object.at("end_ms"));
    return kept;
  } catch (const std::exception& exception) {
    return Error(ErrorClass::Invalid,
                 fileIn(folder).string() + " is none of ours: " + exception.what() + next_step);
  }
}

}  // namespace vms::bench
