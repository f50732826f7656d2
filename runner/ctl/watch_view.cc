#include "runner/ctl/watch_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "runner/ctl/text_width.h"

namespace vms::runner::ctl {
namespace {

const std::vector<Column>& hostColumns() {
  static const std::vector<Column> kColumns = {
      {"host", "HOST"},     {"state", "STATE", false, true}, {"running", "RUNNING"},
      {"staged", "STAGED"}, {"queue_depth", "QUEUE"},        {"starts_per_s", "STARTS/S"},
      {"free", "FREE"},     {"state_reason", "WHY", true}};
  return kColumns;
}

const std::vector<Column>& requestColumns() {
  static const std::vector<Column> kColumns = {
      {"request_id", "REQUEST"}, {"total", "TOTAL"},     {"queued", "QUEUED"},
      {"building", "BUILDING"},  {"running", "RUNNING"}, {"failed", "FAILED"},
      {"held", "HELD"},          {"unknown", "UNKNOWN"}, {"created_at", "CREATED", true}};
  return kColumns;
}

const std::vector<Column>& failureColumns() {
  static const std::vector<Column> kColumns = {{"ended_at", "ENDED", true},
                                               {"vm_name", "VM"},
                                               {"host", "HOST"},
                                               {"error_class", "ERROR", true},
                                               {"error", "DETAIL", true}};
  return kColumns;
}

double sumOf(const json::array& rows, std::string_view key) {
  double sum = 0;
  for (const auto& row : rows) sum += row.is_object() ? numberOf(row.get_object(), key) : 0;
  return sum;
}

const json::array& listOf(const json::object& view, std::string_view key) {
  static const json::array kNone;
  const auto* value = view.if_contains(key);
  return value != nullptr && value->is_array() ? value->get_array() : kNone;
}

std::string bold(const std::string& text, const Screen& screen) {
  return painted(text, "1", screen);
}

}  // namespace

json::object watchView(WallTime now, const json::array& hosts, const json::array& requests,
                       const json::array& failures) {
  json::array active;
  for (const auto& row : requests) {
    if (row.is_object() && stringOf(row.get_object(), "state") == "active") active.push_back(row);
  }
  const auto ready = std::count_if(hosts.begin(), hosts.end(), [](const json::value& row) {
    return row.is_object() && stringOf(row.get_object(), "state") == "ready";
  });
  json::object view;
  view["at"] = formatRfc3339(now);
  view["hosts_ready"] = ready;
  view["running"] = static_cast<std::int64_t>(sumOf(hosts, "running"));
  view["staged"] = static_cast<std::int64_t>(sumOf(hosts, "staged"));
  view["queued"] = static_cast<std::int64_t>(sumOf(active, "queued"));
  view["held"] = static_cast<std::int64_t>(sumOf(active, "held"));
  view["hosts"] = hosts;
  view["active_requests"] = std::move(active);
  view["recent_failures"] = failures;
  return view;
}

std::string watchLine(const json::object& view) {
  const json::array& failures = listOf(view, "recent_failures");
  std::string line =
      fmt::format("{}  hosts {}/{} ready  running {}  building {}  queued {}  held {}  requests {}",
                  cellOf(view, "at"), cellOf(view, "hosts_ready"), listOf(view, "hosts").size(),
                  cellOf(view, "running"), cellOf(view, "staged"), cellOf(view, "queued"),
                  cellOf(view, "held"), listOf(view, "active_requests").size());
  if (!failures.empty() && failures.front().is_object()) {
    const json::object& last = failures.front().get_object();
    line +=
        fmt::format("  last failure {} at {}", cellOf(last, "vm_name"), cellOf(last, "ended_at"));
  }
  return line;
}

std::string watchScreen(const json::object& view, const Screen& screen, const std::string& note) {
  json::array hosts = listOf(view, "hosts");
  for (auto& row : hosts) {
    if (row.is_object()) {
      row.get_object()["free"] = bytesOf(numberOf(row.get_object(), "memory_free"));
    }
  }
  const auto fitted = [&screen](const std::string& line) {
    return screen.width == 0 ? line : cutTo(line, screen.width);
  };
  std::string text = bold(fitted(watchLine(view)), screen) + "\n" + fitted(printable(note)) + "\n";
  text += tableOf(hosts, hostColumns(), screen);
  const json::array& requests = listOf(view, "active_requests");
  text += "\n" + bold("Active requests", screen) + "\n";
  text += requests.empty() ? "none\n" : tableOf(requests, requestColumns(), screen);
  const json::array& failures = listOf(view, "recent_failures");
  text += "\n" + bold("Recent failures", screen) + "\n";
  text += failures.empty() ? "none\n" : tableOf(failures, failureColumns(), screen);
  // The last line of a screen stays empty: a line end there would scroll.
  const std::size_t most =
      screen.height == 0 ? SIZE_MAX : std::max<std::size_t>(2, screen.height) - 1;
  std::string out;
  std::size_t lines = 0;
  for (std::size_t at = 0; at < text.size() && lines < most; ++lines) {
    const std::size_t end = text.find('\n', at);
    out += text.substr(at, end - at) + "\x1b[K\n";
    at = end + 1;
  }
  return out;
}

}  // namespace vms::runner::ctl
