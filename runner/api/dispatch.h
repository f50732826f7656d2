#pragma once

#include "runner/api/context.h"
#include "runner/api/http_server.h"

namespace vms::runner::api {

/// The way of a request from its head to a route's handler: path and method, token and role, names
/// of query parameters; and of failures to problem documents. `context` outlives what is returned.
HttpHandlers dispatchHandlers(const ApiContext* context);

}  // namespace vms::runner::api
