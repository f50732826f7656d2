#pragma once

#include "runner/api/router.h"

/// The handlers of the table in routes.cc. Each reads its call strictly, calls the service on the
/// engine's executor and prints the answer.
namespace vms::runner::api {

asio::awaitable<Result<HttpReply>> defineVms(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> listVms(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> showVm(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> setVm(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> undefineVm(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> stopVms(const ApiContext* context, Call call);

asio::awaitable<Result<HttpReply>> createRequest(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> listRequests(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> showRequest(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> cancelRequest(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> watchRequest(const ApiContext* context, Call call);

asio::awaitable<Result<HttpReply>> watchEvents(const ApiContext* context, Call call);

asio::awaitable<Result<HttpReply>> listHosts(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> showHost(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> showStaging(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> drainHost(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> activateHost(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> confirmHost(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> forgetHost(const ApiContext* context, Call call);

asio::awaitable<Result<HttpReply>> showHistory(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> showHistoryStats(const ApiContext* context, Call call);

asio::awaitable<Result<HttpReply>> createToken(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> listTokens(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> revokeToken(const ApiContext* context, Call call);

asio::awaitable<Result<HttpReply>> showHealth(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> showReadiness(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> showMetrics(const ApiContext* context, Call call);
asio::awaitable<Result<HttpReply>> showOpenApi(const ApiContext* context, Call call);

/// schema/openapi.yaml as it was when this was built.
std::string_view openApiDocument() noexcept;

/// The `vms`, `all` and `selector` of a body: exactly one.
VmSelection readSelection(class Fields& fields);

/// NotFound when `text` is no request id.
Result<RequestId> readRequestId(const std::string& text);

}  // namespace vms::runner::api
