#include "runner/api/auth.h"

#include <utility>

#include "runner/api/token.h"

namespace vms::runner::api {
namespace {

constexpr Duration kKnownFor = seconds(1);
constexpr std::size_t kKnownMax = 1024;

Error unauthenticated(const std::string& what) {
  return Error(ErrorClass::Unauthenticated,
               what + "; send 'Authorization: Bearer' with a token of this engine");
}

std::string bearerOf(const std::string& authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() <= kScheme.size()) return {};
  for (std::size_t i = 0; i < kScheme.size(); ++i) {
    const char c = authorization[i];
    if ((c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) != kScheme[i]) return {};
  }
  return authorization.substr(kScheme.size());
}

}  // namespace

asio::awaitable<Result<Principal>> Authenticator::authenticate(const ApiContext* context,
                                                               std::string authorization,
                                                               Role needed) {
  if (authorization.empty()) co_return unauthenticated("the request has no token");
  const auto text = parseToken(bearerOf(authorization));
  if (!text) co_return unauthenticated("the Authorization header holds no token of ours");
  const std::string hash = sha256Hex(text->secret);
  std::optional<TokenRecord> token = known(hash, context->clock.now());
  if (!token) {
    auto ask = [hash](Service& service) -> asio::awaitable<Result<std::optional<TokenRecord>>> {
      co_return service.findToken(hash);
    };
    const auto answer = co_await onEngine(context, std::move(ask));
    if (!answer) co_return answer.error();
    token = *answer;
    if (token) remember(*token, context->clock.now());
  }
  const WallTime now = context->clock.wallNow();
  if (!token || token->id != text->id || token->hash != hash || token->revoked_at ||
      (token->expires_at && *token->expires_at <= now)) {
    co_return unauthenticated("the token is unknown, expired or revoked");
  }
  const auto role = parseRole(token->role);
  if (!role || *role < needed) {
    co_return Error(ErrorClass::Forbidden, "token " + token->id + " has the role '" + token->role +
                                               "' and this needs '" + std::string(nameOf(needed)) +
                                               "'; use a token with that role");
  }
  Principal who;
  who.name = token->id;
  who.role = token->role;
  co_return who;
}

void Authenticator::forget() {
  const std::lock_guard lock(mutex_);
  known_.clear();
}

std::optional<TokenRecord> Authenticator::known(const std::string& hash, TimePoint now) {
  const std::lock_guard lock(mutex_);
  const auto found = known_.find(hash);
  if (found == known_.end() || now - found->second.asked_at > kKnownFor) return std::nullopt;
  return found->second.token;
}

void Authenticator::remember(TokenRecord token, TimePoint now) {
  const std::lock_guard lock(mutex_);
  if (known_.size() >= kKnownMax) known_.clear();
  std::string hash = token.hash;
  Known entry;
  entry.token = std::move(token);
  entry.asked_at = now;
  known_.insert_or_assign(std::move(hash), std::move(entry));
}

}  // namespace vms::runner::api
