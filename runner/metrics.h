#pragma once

#include <string>

#include "runner/api/http_figures.h"
#include "runner/figures.h"
#include "runner/process_figures.h"
#include "runner/sqlite_store.h"

namespace vms::runner {

struct MetricsInput {
  const EngineFigures& engine;
  StoreFigures store;
  api::HttpFigures http;
  ProcessFigures process;
};

/// Everything in Prometheus' text format. docs/operations/metrics.md lists each metric. Labels are
/// hosts, routes and names from fixed lists, so there are no more series than those allow.
std::string metricsText(const MetricsInput& input);

}  // namespace vms::runner
