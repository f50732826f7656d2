#include "runner/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <limits>
#include <type_traits>
#include <utility>

#include "schema/proto/agent.pb.h"

namespace vms::runner {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

ClientMetric::Label label(std::string name, std::string_view value) {
  return {std::move(name), std::string(value)};
}

/// The families of one page; values belong to the family that was begun last.
class Page {
 public:
  Page& counter(std::string name, std::string help) {
    return begin(MetricType::Counter, std::move(name), std::move(help));
  }
  Page& gauge(std::string name, std::string help) {
    return begin(MetricType::Gauge, std::move(name), std::move(help));
  }
  Page& histogram(std::string name, std::string help) {
    return begin(MetricType::Histogram, std::move(name), std::move(help));
  }

  template <class Number>
  requires std::is_arithmetic_v<Number> Page& add(Number number, Labels labels = {}) {
    ClientMetric metric;
    metric.label = std::move(labels);
    const auto value = static_cast<double>(number);
    if (families_.back().type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    families_.back().metric.push_back(std::move(metric));
    return *this;
  }
  Page& add(const Distribution& values, Labels labels = {}) {
    ClientMetric metric;
    metric.label = std::move(labels);
    std::uint64_t below = 0;
    const auto bounds = values.bounds();
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      below += values.count(i);
      metric.histogram.bucket.push_back({below, bounds[i]});
    }
    below += values.count(bounds.size());
    metric.histogram.bucket.push_back({below, std::numeric_limits<double>::infinity()});
    metric.histogram.sample_count = below;
    metric.histogram.sample_sum = values.sum();
    families_.back().metric.push_back(std::move(metric));
    return *this;
  }

  std::string text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  Page& begin(MetricType type, std::string name, std::string help) {
    prometheus::MetricFamily family;
    family.type = type;
    family.name = std::move(name);
    family.help = std::move(help);
    families_.push_back(std::move(family));
    return *this;
  }

  std::vector<prometheus::MetricFamily> families_;
};

/// One series for each key that was ever counted.
template <class Key>
void addByName(Page& page, const char* name, const std::map<Key, std::uint64_t>& counts) {
  for (const auto& [key, count] : counts) page.add(count, {label(name, nameOf(key))});
}

/// The sum over error classes for each of `states`, zero included.
template <class State>
void addByState(
    Page& page, const char* name, std::initializer_list<State> states,
    const std::map<std::pair<State, std::optional<ErrorClass>>, std::uint64_t>& counts) {
  for (const State state : states) {
    std::uint64_t sum = 0;
    for (const auto& [key, count] : counts) sum += key.first == state ? count : 0;
    page.add(sum, {label(name, nameOf(state))});
  }
}

/// The sum over states for each error class that occurred.
template <class State>
std::map<ErrorClass, std::uint64_t> byErrorClass(
    const std::map<std::pair<State, std::optional<ErrorClass>>, std::uint64_t>& counts) {
  std::map<ErrorClass, std::uint64_t> sums;
  for (const auto& [key, count] : counts) {
    if (key.second) sums[*key.second] += count;
  }
  return sums;
}

std::string_view kindOf(int body) {
  const auto* field = proto::Frame::descriptor()->FindFieldByNumber(body);
  return field == nullptr ? std::string_view("none") : std::string_view(field->name());
}

void addEngine(Page& page, const EngineFigures& engine) {
  page.gauge("vmsrunner_build_info", "The version that runs; always 1.")
      .add(1, {label("version", VMS_VERSION)});
  page.gauge("vmsrunner_engine_may_start",
             "0 after a restore, until every host has reported and is confirmed.")
      .add(engine.may_start);
  page.gauge("vmsrunner_engine_term", "Starts of the engine on this database.").add(engine.term);
  page.gauge("vmsrunner_vms", "VMs that are defined.").add(engine.vms);
}

void addRequests(Page& page, const EngineFigures& engine) {
  const EngineCounters& counters = engine.counters;
  page.gauge("vmsrunner_requests_open", "Requests without an end.").add(engine.requests_open);
  page.counter("vmsrunner_requests_accepted_total", "Bulk requests that were accepted.")
      .add(counters.requests_accepted);
  page.counter("vmsrunner_requests_repeated_total",
               "Requests that were known by their idempotency key.")
      .add(counters.requests_repeated);
  page.counter("vmsrunner_requests_refused_total",
               "Well-formed requests that the engine refused, by error class.");
  addByName(page, "error_class", counters.requests_refused);
}

void addRuns(Page& page, const EngineFigures& engine) {
  const EngineCounters& counters = engine.counters;
  page.gauge("vmsrunner_runs", "Open runs by state.");
  for (const auto& [state, count] : engine.runs) page.add(count, {label("state", nameOf(state))});
  page.gauge("vmsrunner_ready_queue_runs", "Runs that may be placed now, by class.");
  for (const auto& [reason, count] : engine.ready_queue) {
    page.add(count, {label("class", nameOf(reason))});
  }
  page.gauge("vmsrunner_runs_waiting_for_capacity", "Held runs that fit no host now.")
      .add(engine.waiting_for_capacity);
  page.gauge("vmsrunner_runs_backing_off", "Runs that wait before their next try.")
      .add(engine.backing_off);
  page.gauge("vmsrunner_oldest_waiting_seconds",
             "Age of the oldest run that has no attempt; 0 without one.")
      .add(toSeconds(engine.oldest_waiting.value_or(Duration{})));
  page.counter("vmsrunner_runs_finished_total", "Runs that have their outcome.");
  addByState(page, "outcome", {RunState::Succeeded, RunState::Failed, RunState::Cancelled},
             counters.runs_finished);
  page.counter("vmsrunner_run_failures_total", "Runs that failed, by error class.");
  addByName(page, "error_class", byErrorClass(counters.runs_finished));
  page.counter("vmsrunner_run_retries_total",
               "Runs that were queued again after a failed attempt, by its error class.");
  addByName(page, "error_class", counters.runs_retried);
}

void addAttempts(Page& page, const EngineFigures& engine) {
  const EngineCounters& counters = engine.counters;
  page.gauge("vmsrunner_attempts", "Open attempts by state; running VMs are among them.");
  for (const auto& [state, count] : engine.attempts) {
    page.add(count, {label("state", nameOf(state))});
  }
  page.counter("vmsrunner_attempts_closed_total",
               "Attempts that are over, by final state; a VM that ran and ended is among them.");
  addByState(
      page, "state",
      {AttemptState::Dropped, AttemptState::Refused, AttemptState::Failed, AttemptState::Ended},
      counters.attempts_closed);
  page.counter("vmsrunner_attempt_errors_total",
               "Attempts that are over for a reason that has an error class.");
  addByName(page, "error_class", byErrorClass(counters.attempts_closed));
  page.histogram("vmsrunner_attempt_phase_seconds",
                 "Phases of attempts that came up, as in the history; total is from the request "
                 "until the VM ran.");
  for (std::size_t i = 0; i < kPhaseNames.size(); ++i) {
    page.add(counters.phases[i], {label("phase", kPhaseNames[i])});
  }
}

void addBatches(Page& page, const EngineCounters& counters) {
  page.counter("vmsrunner_window_closes_total", "Batches by the reason why their window closed.");
  addByName(page, "reason", counters.windows_closed);
  page.histogram("vmsrunner_batch_items", "Creates in one bulk create message.")
      .add(counters.batch_items);
  page.histogram("vmsrunner_batch_size_bytes", "Size of one bulk create message.")
      .add(counters.batch_bytes);
}

void addTurns(Page& page, const EngineCounters& counters) {
  page.histogram("vmsrunner_turn_duration_seconds",
                 "Turns, from their begin until their effects were let out.")
      .add(counters.turn_seconds);
  page.histogram("vmsrunner_turn_decide_duration_seconds",
                 "The part of turns in which the engine's thread is busy deciding.")
      .add(counters.decide_seconds);
  page.histogram("vmsrunner_turn_changes", "Rows that one turn changed.")
      .add(counters.turn_changes);
  page.histogram("vmsrunner_turn_effects", "Frames that one turn let out.")
      .add(counters.turn_effects);
}

void addSessions(Page& page, const EngineFigures& engine) {
  const EngineCounters& counters = engine.counters;
  page.gauge("vmsrunner_sessions", "Agents that are connected.").add(engine.sessions);
  page.counter("vmsrunner_sessions_opened_total", "Sessions that agents opened.")
      .add(counters.sessions_opened);
  page.counter("vmsrunner_sessions_refused_total", "Agents that were refused, by error class.");
  addByName(page, "error_class", counters.sessions_refused);
  const std::pair<const char*, const std::map<int, FrameTraffic>*> directions[] = {
      {"received", &counters.frames_received}, {"sent", &counters.frames_sent}};
  page.counter("vmsrunner_agent_frames_total", "Frames from and to agents.");
  for (const auto& [direction, kinds] : directions) {
    for (const auto& [body, traffic] : *kinds) {
      page.add(traffic.frames, {label("direction", direction), label("kind", kindOf(body))});
    }
  }
  page.counter("vmsrunner_agent_frame_bytes_total", "Size of these frames, before TLS.");
  for (const auto& [direction, kinds] : directions) {
    for (const auto& [body, traffic] : *kinds) {
      page.add(traffic.bytes, {label("direction", direction), label("kind", kindOf(body))});
    }
  }
}

/// One family with a value for each host, or only for those that are connected.
template <class Value>
void addHostGauge(Page& page, const char* name, const char* help, const EngineFigures& engine,
                  bool only_connected, Value value) {
  page.gauge(name, help);
  for (const HostFigures& host : engine.hosts) {
    if (only_connected && !host.connected) continue;
    page.add(value(host), {label("host", host.host)});
  }
}

void addHosts(Page& page, const EngineFigures& engine) {
  using Host = const HostFigures&;
  page.gauge("vmsrunner_hosts", "Hosts by state.");
  std::map<std::string_view, std::size_t> states;
  for (const std::string_view state : {"ready", "recovering", "not_ready", "draining",
                                       "quarantined", "unconfirmed", "disconnected"}) {
    states[state] = 0;
  }
  for (Host host : engine.hosts) ++states[host.state];
  for (const auto& [state, count] : states) page.add(count, {label("state", state)});

  const auto always = [&](const char* name, const char* help, auto value) {
    addHostGauge(page, name, help, engine, false, value);
  };
  always("vmsrunner_host_ready", "1 while the host takes new work.",
         [](Host host) { return host.state == "ready"; });
  always("vmsrunner_host_connected", "1 while the host's agent has a session.",
         [](Host host) { return host.connected; });
  always("vmsrunner_host_memory_bytes", "Memory that the host offers to VMs.",
         [](Host host) { return host.memory; });
  always("vmsrunner_host_memory_free_bytes", "The part of it that is free for placement.",
         [](Host host) { return host.memory_free; });
  always("vmsrunner_host_memory_reserved_bytes",
         "The part of it that is held for VMs which the host does not list yet.",
         [](Host host) { return host.memory_reserved; });
  always("vmsrunner_host_attempts", "Open attempts on the host; running VMs are among them.",
         [](Host host) { return host.attempts_open; });
  always("vmsrunner_host_window_items", "Commands that gather for the next batch.",
         [](Host host) { return host.window_items; });
  always("vmsrunner_host_messages_in_flight", "Batches that the host has not accepted yet.",
         [](Host host) { return host.messages_in_flight; });

  const auto connected = [&](const char* name, const char* help, auto value) {
    addHostGauge(page, name, help, engine, true, value);
  };
  connected("vmsrunner_host_running", "VMs of ours that run there, as its agent says.",
            [](Host host) { return host.running; });
  connected("vmsrunner_host_staged", "Domains in its staging area.",
            [](Host host) { return host.staged; });
  connected("vmsrunner_host_queue_depth", "Accepted creates that wait for a lane.",
            [](Host host) { return host.queue_depth; });
  connected("vmsrunner_host_credits", "Free places in the agent's intake.",
            [](Host host) { return host.credits; });
  connected("vmsrunner_host_lane_width", "Places in its create lane.",
            [](Host host) { return host.lane_width; });
  connected("vmsrunner_host_lane_busy", "Places in its create lane that are taken.",
            [](Host host) { return host.lane_busy; });
  connected("vmsrunner_host_heartbeat_age_seconds", "Since the host's last word.",
            [](Host host) { return toSeconds(host.heartbeat_age); });
  connected("vmsrunner_host_hypervisor_age_seconds",
            "Age of its hypervisor's last good answer, as its agent says.",
            [](Host host) { return toSeconds(host.hypervisor_age); });
}

void addStore(Page& page, const StoreFigures& store, std::uint64_t commit) {
  page.counter("vmsrunner_store_commits_total", "Transactions that are durable.")
      .add(store.commits);
  page.counter("vmsrunner_store_rows_total", "Rows that these wrote.").add(store.rows);
  page.counter("vmsrunner_store_commits_refused_total",
               "Transactions that found the disk full even with the reserve.")
      .add(store.commits_refused);
  page.histogram("vmsrunner_store_commit_duration_seconds",
                 "Time to write one transaction and to sync it.")
      .add(store.commit_seconds);
  page.gauge("vmsrunner_store_commit_number", "Number of the newest transaction.").add(commit);
  page.counter("vmsrunner_store_rows_pruned_total", "Rows of old history that were removed.")
      .add(store.rows_pruned);
  page.gauge("vmsrunner_store_has_room", "0 while the disk is so full that new work is refused.")
      .add(store.has_room);
  page.gauge("vmsrunner_store_database_bytes", "Size of the database.").add(store.database_bytes);
  page.gauge("vmsrunner_store_wal_bytes", "Size of its write-ahead log.").add(store.wal_bytes);
}

void addHttp(Page& page, const api::HttpFigures& http) {
  static constexpr const char* kClasses[] = {"1xx", "2xx", "3xx", "4xx", "5xx"};
  const auto route = [](const api::RouteFigures& row) {
    return Labels{label("method", row.method.empty() ? "none" : row.method),
                  label("route", row.pattern.empty() ? "none" : row.pattern)};
  };
  page.counter("vmsrunner_http_requests_total",
               "Requests by route and class of status; route none: no route, or not HTTP.");
  for (const api::RouteFigures& row : http.routes) {
    for (std::size_t i = 0; i < row.by_class.size(); ++i) {
      if (row.by_class[i] == 0) continue;
      Labels labels = route(row);
      labels.push_back(label("status", kClasses[i]));
      page.add(row.by_class[i], std::move(labels));
    }
  }
  page.histogram("vmsrunner_http_request_duration_seconds",
                 "Time until the answer, or until a stream begins; without reading and sending.");
  for (const api::RouteFigures& row : http.routes) page.add(row.seconds, route(row));
  page.gauge("vmsrunner_http_requests_in_flight", "Requests that are being answered.")
      .add(http.in_flight);
  page.gauge("vmsrunner_http_connections", "Open connections to the API.")
      .add(http.traffic.connections);
  page.counter("vmsrunner_http_connections_accepted_total", "Connections that came in.")
      .add(http.traffic.accepted);
  page.counter("vmsrunner_http_connections_refused_total",
               "Connections beyond the limit; they got 503 or nothing.")
      .add(http.traffic.refused);
  page.counter("vmsrunner_http_connections_evicted_total",
               "Waiting connections without a token that gave way to new ones at the limit.")
      .add(http.traffic.evicted);
  page.counter("vmsrunner_http_tls_failures_total", "Connections whose TLS handshake failed.")
      .add(http.traffic.tls_failures);
  page.counter("vmsrunner_http_received_body_bytes_total", "Bodies of requests, before TLS.")
      .add(http.traffic.received_body_bytes);
  page.counter("vmsrunner_http_sent_bytes_total", "Responses and streams, before TLS.")
      .add(http.traffic.sent_bytes);
}

void addProcess(Page& page, const ProcessFigures& process) {
  page.counter("process_cpu_seconds_total", "User and system time of the engine.")
      .add(process.cpu_seconds);
  page.gauge("process_start_time_seconds", "Its start, since 1970.").add(process.start_time);
  page.gauge("process_resident_memory_bytes", "Its resident memory.").add(process.resident_bytes);
  page.gauge("process_virtual_memory_bytes", "Its virtual memory.").add(process.virtual_bytes);
  page.gauge("process_open_fds", "Its open file descriptors.").add(process.open_fds);
  page.gauge("process_max_fds", "Their limit.").add(process.max_fds);
  page.gauge("process_threads", "Its threads.").add(process.threads);
}

}  // namespace

std::string metricsText(const MetricsInput& input) {
  Page page;
  addEngine(page, input.engine);
  addRequests(page, input.engine);
  addRuns(page, input.engine);
  addAttempts(page, input.engine);
  addBatches(page, input.engine.counters);
  addTurns(page, input.engine.counters);
  addSessions(page, input.engine);
  addHosts(page, input.engine);
  addStore(page, input.store, input.engine.commit);
  addHttp(page, input.http);
  addProcess(page, input.process);
  return page.text();
}

}  // namespace vms::runner
