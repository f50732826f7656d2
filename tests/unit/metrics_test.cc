#include "runner/metrics.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>

namespace vms::runner {
namespace {

struct Family {
  std::string type, help;
  std::set<std::string> labels;
  std::set<std::string> series;
};

/// Reads a page as strictly as the format is written; every offence fails the test.
std::map<std::string, Family> parsePage(const std::string& text) {
  static const std::regex kHelp(R"(# HELP ([a-z][a-z0-9_]*) ([^\\\n]+))");
  static const std::regex kType(R"(# TYPE ([a-z][a-z0-9_]*) (counter|gauge|histogram))");
  static const std::regex kSample(
      R"re(([a-z][a-z0-9_]*)(\{((?:[a-z_]+="[^"\\\n]*",?)+)\})? (\+Inf|NaN|-?[0-9.]+(?:e[+-]?[0-9]+)?))re");
  static const std::regex kLabel(R"re(([a-z_]+)="[^"]*")re");
  std::map<std::string, Family> families;
  std::string current;
  std::istringstream in(text);
  EXPECT_EQ(text.empty() ? ' ' : text.back(), '\n');
  for (std::string line; std::getline(in, line);) {
    std::smatch match;
    if (std::regex_match(line, match, kHelp)) {
      current = match[1];
      EXPECT_TRUE(families.emplace(current, Family{"", match[2], {}, {}}).second) << line;
    } else if (std::regex_match(line, match, kType)) {
      EXPECT_EQ(match[1], current) << "HELP comes before TYPE";
      EXPECT_EQ(families[current].type, "") << line;
      families[current].type = match[2];
    } else if (std::regex_match(line, match, kSample)) {
      Family& family = families[current];
      std::string name = match[1];
      if (family.type == "histogram") {
        EXPECT_TRUE(std::regex_match(name, std::regex(current + "_(bucket|sum|count)"))) << line;
      } else {
        EXPECT_EQ(name, current) << "samples follow their own family";
      }
      const std::string labels = match[3];
      EXPECT_TRUE(family.series.insert(name + "{" + labels + "}").second) << "twice: " << line;
      for (std::sregex_iterator at(labels.begin(), labels.end(), kLabel), end; at != end; ++at) {
        if ((*at)[1] != "le") family.labels.insert((*at)[1]);
      }
    } else {
      ADD_FAILURE() << "not the text format: " << line;
    }
  }
  return families;
}

/// Something of everything, so that no family is empty.
std::string fullPage() {
  EngineFigures engine;
  EngineCounters& counters = engine.counters;
  counters.requests_accepted = 1;
  counters.requests_refused[ErrorClass::Busy] = 2;
  counters.runs_finished[{RunState::Succeeded, std::nullopt}] = 3;
  counters.runs_finished[{RunState::Failed, ErrorClass::HostRejected}] = 4;
  counters.runs_finished[{RunState::Failed, ErrorClass::Deadline}] = 5;
  counters.runs_retried[ErrorClass::HostRejected] = 6;
  counters.attempts_closed[{AttemptState::Failed, ErrorClass::HostRejected}] = 7;
  counters.windows_closed[batcher::CloseReason::Idle] = 8;
  counters.sessions_refused[ErrorClass::Busy] = 9;
  counters.frames_sent[33] = {2, 2'000};
  counters.frames_received[0] = {1, 3};
  counters.observe(Phase::Total, milliseconds(700));
  counters.observe(Phase::Total, seconds(4'000));
  engine.runs[RunState::Queued] = 1;
  engine.attempts[AttemptState::Unknown] = 1;
  engine.ready_queue[RunReason::User] = 1;
  engine.oldest_waiting = milliseconds(1'500);
  HostFigures host;
  host.host = "h1";
  host.state = "ready";
  host.connected = true;
  host.lane_width = 4;
  engine.hosts.push_back(host);
  host.host = "h2";
  host.state = "disconnected";
  host.connected = false;
  engine.hosts.push_back(host);
  api::RequestCounters requests;
  requests.began();
  requests.finished(&api::routes().front(), 201, milliseconds(3));
  requests.refused(413);
  return metricsText({engine, {}, requests.figures(), readProcessFigures()});
}

std::string rowOf(const std::string& name, const Family& family) {
  std::string labels;
  for (const std::string& label : family.labels) labels += (labels.empty() ? "" : ", ") + label;
  return "| `" + name + "` | " + family.type + " | " + (labels.empty() ? "-" : labels) + " | " +
         family.help + " |";
}

bool endsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

TEST(Metrics, PageIsWellFormed) {
  const auto families = parsePage(fullPage());
  EXPECT_GT(families.size(), 60U);
  for (const auto& [name, family] : families) {
    EXPECT_FALSE(family.series.empty()) << name << " has no sample in a full page";
  }
}

TEST(Metrics, NamesFollowTheConventions) {
  const std::regex unit("(^|_)(ms|millis|milliseconds|minutes|kib|mib|kilobytes|percent)(_|$)");
  for (const auto& [name, family] : parsePage(fullPage())) {
    EXPECT_TRUE(name.starts_with("vmsrunner_") || name.starts_with("process_")) << name;
    EXPECT_EQ(family.type == "counter", endsWith(name, "_total")) << name;
    EXPECT_FALSE(std::regex_search(name, unit)) << name << ": use seconds and bytes";
    for (const char* end : {"_count", "_sum", "_bucket", "_gauge", "_counter"}) {
      EXPECT_FALSE(endsWith(name, end)) << name;
    }
    for (const std::string& label : family.labels) {
      EXPECT_FALSE(label == "vm" || label == "request" || label == "run" || endsWith(label, "_id"))
          << name << " would have a series for each " << label;
    }
  }
}

TEST(Metrics, ValuesArriveWhereTheyBelong) {
  const std::string page = "\n" + fullPage();
  for (const char* line :
       {"vmsrunner_requests_refused_total{error_class=\"busy\"} 2",
        "vmsrunner_runs_finished_total{outcome=\"failed\"} 9",
        "vmsrunner_runs_finished_total{outcome=\"cancelled\"} 0",
        "vmsrunner_run_failures_total{error_class=\"deadline\"} 5",
        "vmsrunner_attempts{state=\"unknown\"} 1", "vmsrunner_oldest_waiting_seconds 1.5",
        "vmsrunner_attempt_phase_seconds_bucket{phase=\"total\",le=\"0.5\"} 0",
        "vmsrunner_attempt_phase_seconds_bucket{phase=\"total\",le=\"1\"} 1",
        "vmsrunner_attempt_phase_seconds_bucket{phase=\"total\",le=\"+Inf\"} 2",
        "vmsrunner_attempt_phase_seconds_sum{phase=\"total\"} 4000.7",
        "vmsrunner_attempt_phase_seconds_count{phase=\"total\"} 2",
        "vmsrunner_agent_frames_total{direction=\"sent\",kind=\"bulk_create\"} 2",
        "vmsrunner_agent_frames_total{direction=\"received\",kind=\"none\"} 1",
        "vmsrunner_hosts{state=\"ready\"} 1", "vmsrunner_host_ready{host=\"h2\"} 0",
        "vmsrunner_host_lane_width{host=\"h1\"} 4",
        "vmsrunner_http_requests_total{method=\"POST\",route=\"/v1/vms\",status=\"2xx\"} 1",
        "vmsrunner_http_requests_total{method=\"none\",route=\"none\",status=\"4xx\"} 1",
        "vmsrunner_http_requests_in_flight 0"}) {
    EXPECT_NE(page.find("\n" + std::string(line) + "\n"), std::string::npos) << line;
  }
  EXPECT_EQ(page.find("vmsrunner_host_lane_width{host=\"h2\"}"), std::string::npos)
      << "what only a connected agent knows";
}

TEST(Metrics, ProcessFiguresAreOfThisProcess) {
  const ProcessFigures figures = readProcessFigures();
  EXPECT_GT(figures.resident_bytes, 1u << 20);
  EXPECT_GT(figures.virtual_bytes, figures.resident_bytes);
  EXPECT_GT(figures.open_fds, 2U);
  EXPECT_LT(figures.open_fds, figures.max_fds);
  EXPECT_GE(figures.threads, 1U);
  EXPECT_GT(figures.start_time, 1.5e9);
}

TEST(Metrics, DocumentationListsEachOne) {
  const char* root = std::getenv("VMS_SOURCE_DIR");
  ASSERT_NE(root, nullptr);
  std::ifstream in(std::string(root) + "/docs/operations/metrics.md");
  const std::regex kRow(R"(^\| `[a-z_]+` \| (counter|gauge|histogram) \|)");
  std::set<std::string> documented, published;
  for (std::string line; std::getline(in, line);) {
    if (std::regex_search(line, kRow)) documented.insert(line);
  }
  for (const auto& [name, family] : parsePage(fullPage())) published.insert(rowOf(name, family));
  for (const std::string& row : published) {
    EXPECT_TRUE(documented.contains(row)) << "docs/operations/metrics.md lacks\n" << row;
  }
  for (const std::string& row : documented) {
    EXPECT_TRUE(published.contains(row)) << "docs/operations/metrics.md has what is not so\n"
                                         << row;
  }
}

}  // namespace
}  // namespace vms::runner
