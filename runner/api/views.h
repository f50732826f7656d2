#pragma once

#include <boost/json/object.hpp>
#include <string>

#include "runner/service.h"

/// The JSON of what clients see. Absent values are null; keys are never left out.
namespace vms::runner::api {

namespace json = boost::json;

json::object attemptJson(const AttemptRecord& attempt);
json::object requestJson(const RequestView& view);
json::object hostJson(const HostView& view);
/// `with_xml`: the domain XML too.
json::object vmJson(const VmView& view, bool with_xml);
json::object stagingJson(const StagingItem& item);
json::object stopJson(const StopItem& item);
json::object dryRunJson(const DryRunItem& item);
json::object statsJson(const HistoryStats& stats);
/// Rows of GET /v1/events.
json::object eventJson(const VmEvent& event);
json::object eventJson(const HostEvent& event);
json::object eventJson(const RequestView& view);
json::object tokenJson(const TokenRecord& token);

/// The first line of a CSV of attempts, and the line of one; both with their line end.
std::string attemptCsvHeader();
std::string attemptCsv(const AttemptRecord& attempt);

}  // namespace vms::runner::api
