#pragma once

#include <boost/asio/awaitable.hpp>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "runner/api/http_server.h"
#include "runner/api/router.h"
#include "runner/records.h"
#include "schema/base/error.h"
#include "schema/base/time.h"

namespace vms::runner::api {

/// Who sends a request, by its bearer token. From any thread.
///
/// Answers of the engine are kept for a second, so a token that was revoked elsewhere works for at
/// most that long.
class Authenticator {
 public:
  /// Unauthenticated: no token, or one that is unknown, expired or revoked; the reason is not told
  /// apart from unknown. Forbidden: the role is below `needed`.
  asio::awaitable<Result<Principal>> authenticate(const ApiContext* context,
                                                  std::string authorization, Role needed);

  /// After a token changed.
  void forget();

 private:
  struct Known {
    TokenRecord token;
    TimePoint asked_at;
  };

  std::optional<TokenRecord> known(const std::string& hash, TimePoint now);
  void remember(TokenRecord token, TimePoint now);

  std::mutex mutex_;
  std::map<std::string, Known> known_;  ///< By hash; bounded.
};

}  // namespace vms::runner::api
