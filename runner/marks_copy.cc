#include "runner/marks_copy.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <boost/json/value_to.hpp>
#include <string>
#include <utility>

#include "schema/base/files.h"
#include "schema/base/json.h"
#include "schema/base/log.h"

namespace vms::runner {
namespace {

constexpr std::size_t kMaxBytes = 4096;

std::optional<std::uint64_t> numberIn(const json::object& object, const char* key) {
  const json::value* const value = object.if_contains(key);
  if (value == nullptr) return std::nullopt;
  boost::system::error_code error;
  const auto number = value->to_number<std::uint64_t>(error);
  if (error) return std::nullopt;
  return number;
}

std::optional<MarksCopy> understand(const std::string& text) {
  const auto parsed = parseJson(text, "marks");
  if (!parsed || !parsed->is_object()) return std::nullopt;
  const json::object& object = parsed->get_object();
  const json::value* const id = object.if_contains("store_id");
  if (id == nullptr || !id->is_string()) return std::nullopt;
  const json::string& id_text = id->get_string();
  const auto uuid = Uuid::parse(std::string_view(id_text.data(), id_text.size()));
  const auto term = numberIn(object, "term");
  const auto commit = numberIn(object, "commit");
  if (!uuid || !term || !commit) return std::nullopt;
  return MarksCopy{StoreId{*uuid}, Term{*term}, CommitNumber{*commit}};
}

}  // namespace

std::optional<MarksCopy> readMarksCopy(const std::filesystem::path& path) {
  const auto text = readFile(path, kMaxBytes);
  if (!text) {
    if (text.error().error_class != ErrorClass::NotFound) {
      log::warn("{}; going on without this copy of the store's marks", text.error().message);
    }
    return std::nullopt;
  }
  auto copy = understand(*text);
  if (!copy) log::warn("{} cannot be understood; going on without it", path.string());
  return copy;
}

Result<void> writeMarksCopy(const std::filesystem::path& path, const MarksCopy& copy) {
  json::object object;
  object["store_id"] = copy.store_id.str();
  object["term"] = copy.term.value;
  object["commit"] = copy.commit.value;
  return writeFileAtomically(path, json::serialize(object) + "\n");
}

bool knowsMore(const MarksCopy& copy, const Marks& stored) {
  return copy.store_id != stored.store_id || copy.term > stored.term || copy.commit > stored.commit;
}

Marks marksOfStart(const Marks& stored, const std::optional<MarksCopy>& copy) {
  Marks marks = stored;
  if (copy) {
    marks.restored = stored.restored || knowsMore(*copy, stored);
    marks.term = std::max(stored.term, copy->term);
    marks.commit = std::max(stored.commit, copy->commit);
  }
  ++marks.term.value;
  ++marks.commit.value;
  return marks;
}

}  // namespace vms::runner
