#include <algorithm>
#include <boost/json/array.hpp>
#include <utility>

#include "runner/api/auth.h"
#include "runner/api/fields.h"
#include "runner/api/routes.h"
#include "runner/api/token.h"
#include "runner/api/views.h"

/// Tokens, health, metrics and the API's own description.
namespace vms::runner::api {
namespace {

constexpr std::int64_t kTokenLifeMaxMs = 10LL * 366 * 24 * 3600 * 1000;

HttpReply textReply(int status, std::string type, std::string text) {
  HttpHeaders headers;
  headers.emplace_back("Content-Type", std::move(type));
  headers.emplace_back("Cache-Control", "no-store");
  return HttpResponse(status, std::move(headers), std::move(text));
}

asio::awaitable<Result<std::vector<TokenRecord>>> tokensOf(const ApiContext* context) {
  auto work = [](Service& service) { return service.listTokens(); };
  return onEngine(context, std::move(work));
}

}  // namespace

asio::awaitable<Result<HttpReply>> createToken(const ApiContext* context, Call call) {
  auto fields = Fields::ofBody(call.request);
  if (!fields) co_return fields.error();
  const auto role = fields->word("role", "viewer operator admin");
  const auto name = fields->text("name");
  const auto life = fields->integer("expires_in_ms", 1, kTokenLifeMaxMs);
  if (auto read = fields->finish(); !read) co_return read.error();
  if (!role) {
    co_return Error(ErrorClass::Invalid, "field 'role' is missing; give viewer, operator or admin");
  }
  const WallTime now = context->clock.wallNow();
  std::optional<WallTime> expires_at;
  if (life) expires_at = now + milliseconds(*life);
  const MintedToken token = mintToken(*role, name.value_or(""), now, expires_at);
  auto work = [who = call.who, record = token.record](Service& service) {
    return service.putToken(who, record);
  };
  const auto done = co_await onEngine(context, std::move(work));
  if (!done) co_return done.error();
  json::object body = tokenJson(token.record);
  body["token"] = token.text;
  co_return HttpReply(jsonReply(201, std::move(body)));
}

asio::awaitable<Result<HttpReply>> listTokens(const ApiContext* context, Call) {
  const auto tokens = co_await tokensOf(context);
  if (!tokens) co_return tokens.error();
  json::array list;
  for (const TokenRecord& token : *tokens) list.emplace_back(tokenJson(token));
  json::object body;
  body["tokens"] = std::move(list);
  co_return HttpReply(jsonReply(200, std::move(body)));
}

asio::awaitable<Result<HttpReply>> revokeToken(const ApiContext* context, Call call) {
  const std::string id = call.path[0];
  const auto tokens = co_await tokensOf(context);
  if (!tokens) co_return tokens.error();
  const auto found = std::find_if(tokens->begin(), tokens->end(),
                                  [&id](const TokenRecord& token) { return token.id == id; });
  if (found == tokens->end()) {
    co_return Error(ErrorClass::NotFound,
                    "token '" + id + "' is not known; 'vmsctl token list' shows those that are");
  }
  TokenRecord token = *found;
  if (!token.revoked_at) {
    token.revoked_at = context->clock.wallNow();
    auto work = [who = call.who, token](Service& service) { return service.putToken(who, token); };
    const auto done = co_await onEngine(context, std::move(work));
    if (!done) co_return done.error();
    context->authenticator.forget();
  }
  co_return HttpReply(jsonReply(200, tokenJson(token)));
}

asio::awaitable<Result<HttpReply>> showHealth(const ApiContext*, Call) {
  co_return textReply(200, "text/plain; charset=utf-8", "ok\n");
}

asio::awaitable<Result<HttpReply>> showReadiness(const ApiContext* context, Call) {
  auto work = [](Service& service) -> asio::awaitable<Result<void>> {
    co_return service.readiness();
  };
  const auto ready = co_await onEngine(context, std::move(work));
  if (!ready) co_return Error(ErrorClass::Unavailable, ready.error().message);
  co_return textReply(200, "text/plain; charset=utf-8", "ready\n");
}

asio::awaitable<Result<HttpReply>> showMetrics(const ApiContext* context, Call) {
  if (!context->metrics) {
    co_return Error(ErrorClass::NotFound, "this engine was started without metrics");
  }
  auto work = [](Service& service) -> asio::awaitable<Result<EngineFigures>> {
    co_return service.figures();
  };
  const auto figures = co_await onEngine(context, std::move(work));
  if (!figures) co_return figures.error();
  co_return textReply(200, "text/plain; version=0.0.4; charset=utf-8", context->metrics(*figures));
}

asio::awaitable<Result<HttpReply>> showOpenApi(const ApiContext*, Call) {
  co_return textReply(200, "application/yaml", std::string(openApiDocument()));
}

}  // namespace vms::runner::api
