#include "tests/bench/api_caller.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

#include "schema/base/json.h"
#include "schema/base/rng.h"
#include "schema/base/time.h"

namespace vms::bench {
namespace {

constexpr std::size_t kVmsPerDefinition = 500;
constexpr std::size_t kPage = 1000;

Result<json::value> success(const Result<HttpsAnswer>& answer, const std::string& what) {
  if (!answer) return withContext(answer.error(), what);
  if (answer->status / 100 != 2) {
    return Error(ErrorClass::Internal, what + ": the engine answers " +
                                           std::to_string(answer->status) + " " +
                                           answer->body.substr(0, 500));
  }
  JsonLimits limits;
  limits.max_bytes = answer->body.size();
  return parseJson(answer->body, what, limits);
}

/// About what a small server's document looks like: a disk, a network card, a console.
std::string domainXml(const std::string& name, const std::string& uuid) {
  return "<domain type='kvm'><name>" + name + "</name><uuid>" + uuid +
         "</uuid><memory unit='MiB'>512</memory><vcpu>1</vcpu><os><type arch='x86_64' "
         "machine='q35'>hvm</type><boot dev='hd'/></os><features><acpi/><apic/></features>"
         "<cpu mode='host-model'/><clock offset='utc'><timer name='rtc' tickpolicy='catchup'/>"
         "<timer name='hpet' present='no'/></clock><on_poweroff>destroy</on_poweroff><on_crash>"
         "destroy</on_crash><devices><disk type='file' device='disk'><driver name='qemu' "
         "type='qcow2' cache='none'/><source file='/srv/images/" +
         name +
         ".qcow2'/><target dev='vda' bus='virtio'/></disk><interface type='bridge'><source "
         "bridge='br0'/><model type='virtio'/></interface><serial type='pty'><target port='0'/>"
         "</serial><memballoon model='virtio'/></devices></domain>";
}

Result<HistoryRow> rowOf(const json::value& value) {
  const auto textOf = [&](const char* key) {
    const json::value* const field = value.as_object().if_contains(key);
    return field != nullptr && field->is_string() ? std::string(field->get_string())
                                                  : std::string();
  };
  const auto attempt = Uuid::parse(textOf("attempt_id"));
  const auto request = Uuid::parse(textOf("request_id"));
  const auto requested = parseRfc3339(textOf("requested_at"));
  const auto running = parseRfc3339(textOf("running_at"));
  HistoryRow row;
  row.outcome = textOf("outcome");
  if (!attempt || !request || !requested) {
    return Error(ErrorClass::Internal, "a row of the history lacks its ids or its time of request");
  }
  row.attempt = AttemptId{*attempt};
  row.request = RequestId{*request};
  row.requested_ms = requested->unix_ms;
  row.running_ms = running ? running->unix_ms : 0;
  return row;
}

}  // namespace

Result<HttpsConnection> connectToApi(const std::string& address, const std::string& ca_file,
                                     const std::string& token) {
  TlsFiles files;
  files.ca = ca_file;
  const Result<TlsContext> tls = makeClientTls(files);
  if (!tls) return tls.error();
  return HttpsConnection::open(*tls, address, token);
}

Result<void> defineVms(HttpsConnection& api, const std::string& prefix, std::size_t count) {
  Rng rng(seedFromSystem());
  for (std::size_t first = 0; first < count; first += kVmsPerDefinition) {
    std::string xml = "<domains>";
    for (std::size_t i = first; i < std::min(count, first + kVmsPerDefinition); ++i) {
      xml += domainXml(prefix + std::to_string(i), makeUuidV7(WallTime{}, rng).str());
    }
    xml += "</domains>";
    const auto defined =
        success(api.call("POST", "/v1/vms", xml, "application/xml"), "defining VMs");
    if (!defined) return defined.error();
  }
  return boost::system::in_place_value;
}

Result<RequestId> startVms(HttpsConnection& api, const std::vector<std::string>& names) {
  json::array list(names.begin(), names.end());
  json::object body;
  body["vms"] = std::move(list);
  const auto answer =
      success(api.call("POST", "/v1/requests", json::serialize(body)), "starting VMs");
  if (!answer) return answer.error();
  const json::value* const id = answer->as_object().if_contains("request_id");
  const auto uuid = id != nullptr && id->is_string() ? Uuid::parse(id->get_string().c_str())
                                                     : std::optional<Uuid>();
  if (!uuid) return Error(ErrorClass::Internal, "the engine accepted a request without an id");
  return RequestId{*uuid};
}

Result<std::size_t> countReadyHosts(HttpsConnection& api) {
  const auto answer = success(api.call("GET", "/v1/hosts", ""), "listing hosts");
  if (!answer) return answer.error();
  std::size_t ready = 0;
  for (const json::value& host : answer->as_object().at("hosts").as_array()) {
    if (host.as_object().at("state").as_string() == "ready") ++ready;
  }
  return ready;
}

Result<std::vector<HistoryRow>> readHistory(HttpsConnection& api) {
  std::vector<HistoryRow> rows;
  const std::string first = "/v1/history?limit=" + std::to_string(kPage);
  std::string cursor;
  do {
    const std::string target = first + (cursor.empty() ? "" : "&cursor=" + cursor);
    const auto page = success(api.call("GET", target, ""), "reading the history");
    if (!page) return page.error();
    for (const json::value& value : page->as_object().at("attempts").as_array()) {
      Result<HistoryRow> row = rowOf(value);
      if (!row) return row.error();
      rows.push_back(std::move(*row));
    }
    const json::value& next = page->as_object().at("next_cursor");
    cursor = next.is_string() ? std::string(next.get_string()) : std::string();
  } while (!cursor.empty());
  return rows;
}

}  // namespace vms::bench
