#include "runner/api/views.h"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <optional>
#include <utility>

#include "runner/api/fields.h"
#include "runner/store.h"

namespace vms::runner::api {
namespace {

json::value textOrNull(std::string_view text) {
  if (text.empty()) return nullptr;
  return json::value(json::string_view(text.data(), text.size()));
}

json::value textOf(std::string_view text) {
  return json::value(json::string_view(text.data(), text.size()));
}

json::value timeOrNull(const std::optional<WallTime>& time) {
  if (!time) return nullptr;
  return json::value(formatRfc3339(*time));
}

template <class Id>
json::value idOrNull(const Id& id) {
  if (id.uuid.isNil()) return nullptr;
  return json::value(id.str());
}

json::array textsOf(const std::vector<std::string>& texts) {
  json::array list;
  for (const std::string& text : texts) list.emplace_back(text);
  return list;
}

json::value errorClassOrNull(const std::optional<ErrorClass>& error_class) {
  if (!error_class) return nullptr;
  return textOf(nameOf(*error_class));
}

std::string csvField(const json::value& value) {
  if (value.is_null()) return {};
  const auto* text = value.if_string();
  if (text == nullptr) return json::serialize(value);
  if (text->find_first_of(",\"\r\n") == json::string::npos) return std::string(*text);
  std::string quoted = "\"";
  for (const char c : *text) {
    if (c == '"') quoted.push_back('"');
    quoted.push_back(c);
  }
  quoted.push_back('"');
  return quoted;
}

/// A request without what never changes and without its failures.
json::object countsJson(const RequestView& view) {
  json::object out;
  out["request_id"] = view.request.id.str();
  out["state"] = view.state;
  out["total"] = view.request.total;
  out["queued"] = view.queued;
  out["placed"] = view.placed;
  out["sent"] = view.sent;
  out["staged"] = view.staged;
  out["building"] = view.building;
  out["running"] = view.running;
  out["ready"] = view.ready;
  out["failed"] = view.failed;
  out["held"] = view.held;
  out["unknown"] = view.unknown;
  out["cancelled"] = view.cancelled;
  out["batches"] = view.batches;
  out["eta_ms"] = view.eta ? json::value(toMs(*view.eta)) : json::value();
  return out;
}

}  // namespace

json::object attemptJson(const AttemptRecord& attempt) {
  json::object out;
  out["attempt_id"] = attempt.ref.attempt.str();
  out["run_id"] = idOrNull(attempt.run);
  out["request_id"] = idOrNull(attempt.request);
  out["vm_id"] = attempt.ref.vm.str();
  out["vm_name"] = attempt.vm_name;
  out["host"] = attempt.host;
  out["epoch"] = attempt.ref.epoch.value;
  out["batch_id"] = attempt.batch ? json::value(attempt.batch->str()) : json::value();
  out["reason"] = textOf(nameOf(attempt.reason));
  out["priority"] = attempt.priority;
  out["requested_at"] = formatRfc3339(attempt.requested_at);
  out["placed_at"] = formatRfc3339(attempt.placed_at);
  out["sent_at"] = timeOrNull(attempt.sent_at);
  out["accepted_at"] = timeOrNull(attempt.accepted_at);
  out["staged_at"] = timeOrNull(attempt.staged_at);
  out["build_started_at"] = timeOrNull(attempt.build_started_at);
  out["built_at"] = timeOrNull(attempt.built_at);
  out["running_at"] = timeOrNull(attempt.running_at);
  out["ready_at"] = timeOrNull(attempt.ready_at);
  out["ended_at"] = timeOrNull(attempt.ended_at);
  out["state"] = textOf(nameOf(attempt.state));
  out["outcome"] = textOrNull(outcomeOf(attempt));
  out["error_class"] = errorClassOrNull(attempt.error_class);
  out["error"] = textOrNull(attempt.error);
  out["proof"] = attempt.proof ? textOf(nameOf(*attempt.proof)) : json::value();
  out["stopped_at"] = timeOrNull(attempt.stopped_at);
  out["stop_reason"] = textOrNull(attempt.stop_reason);
  return out;
}

json::object requestJson(const RequestView& view) {
  json::object out = countsJson(view);
  out["created_at"] = formatRfc3339(view.request.created_at);
  out["finished_at"] = timeOrNull(view.request.finished_at);
  out["priority"] = view.request.priority;
  out["paused"] = view.request.options.paused;
  out["requester"] = textOrNull(view.request.principal);
  json::array failures;
  for (const auto& failure : view.failures) {
    json::object item;
    item["vm_name"] = failure.vm_name;
    item["host"] = textOrNull(failure.host);
    item["error_class"] = textOrNull(failure.error_class);
    item["error"] = textOrNull(failure.error);
    failures.emplace_back(std::move(item));
  }
  out["failures"] = std::move(failures);
  return out;
}

json::object hostJson(const HostView& view) {
  json::object out;
  out["host"] = view.host.id;
  out["state"] = view.state;
  out["lease_until"] = timeOrNull(view.lease_until);
  out["boot_id"] = textOrNull(view.host.boot_id);
  out["agent_version"] = textOrNull(view.host.agent_version);
  out["cpus"] = view.host.cpus;
  out["memory"] = view.host.memory;
  out["memory_free"] = view.memory_free;
  out["reserved_memory"] = view.reserved_memory;
  out["running"] = view.running;
  out["staged"] = view.staged;
  out["lane_width"] = view.lane_width;
  out["lane_busy"] = view.lane_busy;
  out["queue_depth"] = view.queue_depth;
  out["starts_per_s"] = view.starts_per_s;
  out["failures_recent"] = view.failures_recent;
  out["maintenance"] = view.host.draining;
  out["state_reason"] = textOrNull(view.state_reason);
  out["alarm"] = textOrNull(view.host.alarm);
  out["hypervisor_uri"] = textOrNull(view.host.hypervisor_uri);
  out["last_seen"] = formatRfc3339(view.host.last_seen);
  out["foreign_domains"] = textsOf(view.foreign_domains);
  out["moved_domains"] = textsOf(view.moved_domains);
  return out;
}

json::object vmJson(const VmView& view, bool with_xml) {
  const VmRecord& vm = view.vm;
  json::object out;
  out["vm_id"] = vm.spec.id.str();
  out["vm_name"] = vm.spec.name;
  out["state"] = view.state;
  out["state_reason"] = textOrNull(view.state_reason);
  out["host"] = view.attempt ? json::value(view.attempt->host) : json::value();
  out["domain_type"] = vm.spec.domain_type;
  out["memory"] = vm.spec.memory;
  out["vcpus"] = vm.spec.vcpus;
  out["priority"] = vm.priority;
  out["ha"] = textOf(nameOf(vm.ha));
  out["tier"] = vm.tier;
  out["after"] = textsOf(vm.after);
  out["after_undefined"] = textsOf(view.after_undefined);
  out["gate"] = formatGate(vm.gate);
  json::object labels;
  for (const auto& [key, value] : vm.labels) labels[key] = value;
  out["labels"] = std::move(labels);
  out["epoch"] = vm.epoch.value;
  out["defined_at"] = formatRfc3339(vm.defined_at);
  out["updated_at"] = formatRfc3339(vm.updated_at);
  out["attempt"] = view.attempt ? json::value(attemptJson(*view.attempt)) : json::value();
  if (with_xml) out["xml"] = vm.xml;
  return out;
}

json::object stagingJson(const StagingItem& item) {
  json::object out;
  out["attempt_id"] = item.ref.attempt.str();
  out["vm_id"] = item.ref.vm.str();
  out["vm_name"] = item.vm_name;
  out["epoch"] = item.ref.epoch.value;
  out["state"] = textOf(nameOf(item.state));
  out["since"] = formatRfc3339(item.since);
  return out;
}

json::object stopJson(const StopItem& item) {
  json::object out;
  out["vm_id"] = idOrNull(item.vm);
  out["vm_name"] = item.vm_name;
  out["state"] = item.state;
  out["error_class"] = textOrNull(item.error_class);
  out["error"] = textOrNull(item.error);
  return out;
}

json::object dryRunJson(const DryRunItem& item) {
  json::object out;
  out["vm_name"] = item.vm_name;
  out["state"] = item.state;
  out["host"] = item.host ? json::value(*item.host) : json::value();
  out["why_not"] = textOrNull(item.why_not);
  return out;
}

json::object statsJson(const HistoryStats& stats) {
  json::object out;
  const std::uint64_t ended = stats.succeeded + stats.failed;
  out["count"] = stats.count;
  out["succeeded"] = stats.succeeded;
  out["failed"] = stats.failed;
  out["cancelled"] = stats.cancelled;
  out["success_rate"] =
      ended == 0 ? json::value()
                 : json::value(static_cast<double>(stats.succeeded) / static_cast<double>(ended));
  json::array phases;
  for (const PhaseStats& phase : stats.phases) {
    json::object item;
    item["phase"] = phase.phase;
    item["count"] = phase.count;
    item["p50_ms"] = phase.p50_ms;
    item["p95_ms"] = phase.p95_ms;
    item["p99_ms"] = phase.p99_ms;
    phases.emplace_back(std::move(item));
  }
  out["phases"] = std::move(phases);
  return out;
}

json::object eventJson(const VmEvent& event) {
  json::object out;
  out["vm_id"] = event.vm.str();
  out["vm_name"] = event.vm_name;
  out["state"] = event.state;
  out["state_reason"] = textOrNull(event.state_reason);
  out["host"] = textOrNull(event.host);
  return out;
}

json::object eventJson(const HostEvent& event) {
  json::object out;
  out["host"] = event.host;
  out["state"] = event.state;
  out["state_reason"] = textOrNull(event.state_reason);
  return out;
}

json::object eventJson(const RequestView& view) {
  json::object out = countsJson(view);
  out["created_at"] = formatRfc3339(view.request.created_at);
  out["finished_at"] = timeOrNull(view.request.finished_at);
  return out;
}

json::object tokenJson(const TokenRecord& token) {
  json::object out;
  out["token_id"] = token.id;
  out["name"] = textOrNull(token.name);
  out["role"] = token.role;
  out["created_at"] = formatRfc3339(token.created_at);
  out["expires_at"] = timeOrNull(token.expires_at);
  out["revoked_at"] = timeOrNull(token.revoked_at);
  return out;
}

std::string attemptCsvHeader() {
  std::string line;
  for (const auto& [key, value] : attemptJson(AttemptRecord())) {
    line += (line.empty() ? "" : ",") + std::string(key);
  }
  return line + "\r\n";
}

std::string attemptCsv(const AttemptRecord& attempt) {
  std::string line;
  bool first = true;
  for (const auto& [key, value] : attemptJson(attempt)) {
    if (!first) line.push_back(',');
    first = false;
    line += csvField(value);
  }
  return line + "\r\n";
}

}  // namespace vms::runner::api
