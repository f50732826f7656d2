#pragma once

#include <CLI/App.hpp>
#include <boost/json/object.hpp>
#include <functional>

#include "schema/base/error.h"

namespace vms::bench {

/// What a benchmark measured; the keys are documented in docs/performance.md.
using Report = boost::json::object;

/// A benchmark that the command line chose. It prints lines for people while it runs.
using Benchmark = std::function<Result<Report>()>;

/// Adds a subcommand to `app`; when it is given, `chosen` gets its benchmark.
void addOrchestration(CLI::App& app, Benchmark& chosen);
void addHistory(CLI::App& app, Benchmark& chosen);

}  // namespace vms::bench
