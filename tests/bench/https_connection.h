#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "schema/base/error.h"
#include "schema/base/tls_context.h"

namespace vms::bench {

struct HttpsAnswer {
  int status = 0;
  std::string body;
};

/// One keep-alive connection to the engine's API, with blocking calls; for one thread at a time.
/// It does as little as HTTP allows, so that the client costs the machine less than the engine.
class HttpsConnection {
 public:
  /// `address` HOST:PORT, HOST an IPv4 address; `token` goes with every call.
  static Result<HttpsConnection> open(const TlsContext& tls, const std::string& address,
                                      std::string token);
  HttpsConnection(HttpsConnection&&) noexcept;
  HttpsConnection& operator=(HttpsConnection&&) noexcept;
  ~HttpsConnection();

  /// An answer with any status. Unavailable: the connection broke, or no byte came for a minute.
  Result<HttpsAnswer> call(std::string_view method, std::string_view target, std::string_view body,
                           std::string_view content_type = "application/json");

 private:
  struct Impl;
  explicit HttpsConnection(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vms::bench
