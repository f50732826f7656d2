#include "runner/ctl/watch_model.h"

#include <utility>

#include "runner/ctl/output.h"
#include "schema/base/json.h"

namespace vms::runner::ctl {
namespace {

template <class Take>
void eachRow(const json::object& data, std::string_view list, const Take& take) {
  const auto* rows = data.if_contains(list);
  if (rows == nullptr || !rows->is_array()) return;
  for (const auto& row : rows->get_array()) {
    if (row.is_object()) take(row.get_object());
  }
}

}  // namespace

void WatchModel::begin() {
  if (!whole()) forget();
}

bool WatchModel::apply(const SseEvent& event) {
  if (event.event == "reset") {
    forget();
    return true;
  }
  if (event.event != "snapshot" && event.event != "delta") return false;
  JsonLimits limits;
  limits.max_bytes = event.data.size();
  const auto data = parseJson(event.data, "event", limits);
  if (!data || !data->is_object()) return false;
  const json::object& rows = data->get_object();
  eachRow(rows, "hosts", [this](const json::object& row) { hosts_[stringOf(row, "host")] = row; });
  eachRow(rows, "requests", [this](const json::object& row) {
    const std::string id = stringOf(row, "request_id");
    if (stringOf(row, "state") == "active") {
      requests_[id] = row;
    } else {
      requests_.erase(id);
    }
  });
  eachRow(rows, "vms", [this](const json::object& row) { applyVm(row); });
  // A part without an id has more behind it.
  if (!event.id.empty()) last_id_ = event.id;
  return true;
}

json::array WatchModel::requests() const {
  json::array rows;
  for (const auto& [id, row] : requests_) rows.emplace_back(row);
  return rows;
}

json::array WatchModel::hosts(json::array rows) const {
  for (auto& value : rows) {
    if (!value.is_object()) continue;
    json::object& row = value.get_object();
    const auto host = hosts_.find(stringOf(row, "host"));
    if (host == hosts_.end()) continue;
    for (const auto& [key, changed] : host->second) row[key] = changed;
    const auto found = counts_.find(host->first);
    const Count count = found == counts_.end() ? Count() : found->second;
    row["running"] = count.running;
    row["staged"] = count.building;
  }
  return rows;
}

void WatchModel::forget() {
  last_id_.clear();
  hosts_.clear();
  requests_.clear();
  vms_.clear();
  counts_.clear();
}

void WatchModel::applyVm(const json::object& row) {
  const std::string id = stringOf(row, "vm_id");
  const std::string state = stringOf(row, "state");
  if (const auto before = vms_.find(id); before != vms_.end()) {
    count(before->second, -1);
    vms_.erase(before);
  }
  Vm vm;
  vm.host = stringOf(row, "host");
  vm.running = state == "running" || state == "ready";
  vm.building = state == "staged" || state == "building";
  if (!vm.running && !vm.building) return;
  count(vm, 1);
  vms_.emplace(id, std::move(vm));
}

void WatchModel::count(const Vm& vm, std::int64_t by) {
  Count& count = counts_[vm.host];
  if (vm.running) count.running += by;
  if (vm.building) count.building += by;
}

}  // namespace vms::runner::ctl
