#include "tests/bench/start_figures.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>

namespace vms::bench {
namespace {

using Attempts = std::map<AttemptId, const HistoryRow*>;

double round3(double value) { return std::round(value * 1000.0) / 1000.0; }

double perOf(double amount, double count) { return count > 0 ? round3(amount / count) : 0; }

/// Milliseconds from the acceptance of each start to the arrival of its command at the agent.
struct Delays {
  std::vector<double> to_sent, single_to_sent, bulk_to_sent, to_running;
};

Result<const HistoryRow*> rowOf(const Attempts& attempts, AttemptId id) {
  const auto found = attempts.find(id);
  if (found == attempts.end()) {
    return Error(ErrorClass::Internal, "attempt " + id.str() + " was sent but is not in history");
  }
  return found->second;
}

double sentAfterMs(const SeenBatch& batch, const HistoryRow& row) {
  // History has whole milliseconds, rounded down: the delay is never told too short.
  return static_cast<double>(batch.arrived_us - row.requested_ms * 1000) / 1000.0;
}

void addDelay(Report& report, const std::string& name, const std::vector<double>& values) {
  report[name + "_p50_ms"] = round3(percentile(values, 0.50));
  report[name + "_p99_ms"] = round3(percentile(values, 0.99));
}

/// Starts, and the messages that carried at least one of them.
struct Carried {
  std::size_t starts = 0;
  std::size_t messages = 0;
  double perMessage() const {
    return perOf(static_cast<double>(starts), static_cast<double>(messages));
  }
};

void addTotals(Report& report, const StartRecords& records, std::size_t starts) {
  const LoadResult& load = records.load;
  const double count = static_cast<double>(starts);
  const double ingest_s = static_cast<double>(load.last_accepted_us - load.begun_us) / 1e6;
  const double elapsed_s = static_cast<double>(load.last_durable_us - load.begun_us) / 1e6;
  const auto commits = records.after.commits - records.before.commits;
  const std::chrono::duration<double> cpu = records.after.usage.cpu - records.before.usage.cpu;
  report["ingest_per_s"] = perOf(count, ingest_s);
  report["starts_per_s"] = perOf(count, elapsed_s);
  report["elapsed_s"] = round3(elapsed_s);
  report["bytes_per_start"] = perOf(static_cast<double>(load.wire_bytes), count);
  report["frames_per_start"] = perOf(static_cast<double>(load.wire_frames), count);
  report["starts_per_commit"] = perOf(count, static_cast<double>(commits));
  report["engine_commits"] = commits;
  report["engine_fsyncs"] = records.after.syncs - records.before.syncs;
  report["engine_cpu_s"] = round3(cpu.count());
  report["engine_cpu_ms_per_start"] = perOf(cpu.count() * 1e3, count);
  report["engine_peak_rss_mib"] =
      round3(static_cast<double>(records.after.usage.peak_rss_bytes) / (1024.0 * 1024.0));
}

}  // namespace

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(share * static_cast<double>(values.size()));
  const auto index = static_cast<std::size_t>(std::max(1.0, rank)) - 1;
  return values[std::min(index, values.size() - 1)];
}

Result<Report> figuresOf(const StartRecords& records) {
  Attempts attempts;
  for (const HistoryRow& row : records.history) {
    attempts.emplace(row.attempt, &row);
    if (row.outcome != "succeeded" || row.running_ms == 0) {
      return Error(ErrorClass::Internal, "attempt " + row.attempt.str() + " ended as '" +
                                             row.outcome + "'; see the engine's log");
    }
  }
  const LoadResult& load = records.load;
  Delays delays;
  Carried single, bulk;
  std::set<AttemptId> seen;
  for (const SeenBatch& batch : load.batches) {
    bool any_single = false, any_bulk = false;
    for (const AttemptId& id : batch.attempts) {
      const Result<const HistoryRow*> row = rowOf(attempts, id);
      if (!row) return row.error();
      const bool of_bulk = (*row)->request == load.bulk;
      (of_bulk ? any_bulk : any_single) = true;
      if (!seen.insert(id).second) continue;  // Delivered again.
      ++(of_bulk ? bulk : single).starts;
      const double sent = sentAfterMs(batch, **row);
      delays.to_sent.push_back(sent);
      (of_bulk ? delays.bulk_to_sent : delays.single_to_sent).push_back(sent);
      delays.to_running.push_back(static_cast<double>((*row)->running_ms - (*row)->requested_ms));
    }
    if (any_bulk) ++bulk.messages;
    if (any_single) ++single.messages;
  }
  std::vector<double> alone;
  for (const SeenBatch& batch : records.alone) {
    const Result<const HistoryRow*> row = rowOf(attempts, batch.attempts.front());
    if (!row) return row.error();
    alone.push_back(sentAfterMs(batch, **row));
  }
  Report report;
  report["attempts"] = seen.size();
  report["messages"] = load.batches.size();
  report["starts_per_message_bulk"] = bulk.perMessage();
  report["starts_per_message_single"] = single.perMessage();
  addTotals(report, records, seen.size());
  addDelay(report, "accept_to_sent", delays.to_sent);
  addDelay(report, "single_accept_to_sent", delays.single_to_sent);
  addDelay(report, "bulk_accept_to_sent", delays.bulk_to_sent);
  addDelay(report, "lone_start_accept_to_sent", alone);
  addDelay(report, "accept_to_running", delays.to_running);
  return report;
}

}  // namespace vms::bench
