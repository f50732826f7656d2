#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>

#include "schema/base/tls_context.h"
#include "schema/base/unique_fd.h"

namespace vms {

/// A blocking client for tests of what no decent peer does.
class RawPeer {
 public:
  /// Connects to 127.0.0.1:port of "HOST:PORT".
  explicit RawPeer(const std::string& address);

  void sendPlain(const std::string& bytes);
  /// What comes until the other side closes or resets.
  std::string readPlainToEnd();

  struct TlsOptions {
    TlsFiles files;  ///< Certificate and key may be empty.
    int max_version = TLS1_3_VERSION;
  };
  /// Whether our side of the handshake succeeded.
  bool startTls(const TlsOptions& options);
  void send(const std::string& bytes);
  /// As readPlainToEnd; `failure()` says how it ended.
  std::string readToEnd();
  std::string readSome();
  std::string failure() const { return failure_; }

 private:
  UniqueFd fd_;
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_{nullptr, SSL_CTX_free};
  std::unique_ptr<SSL, void (*)(SSL*)> ssl_{nullptr, SSL_free};
  std::string failure_;
};

}  // namespace vms
