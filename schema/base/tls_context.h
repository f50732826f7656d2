#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "schema/base/error.h"

struct ssl_ctx_st;
struct x509_st;
struct ssl_st;

namespace vms {

/// PEM files of one end of a TLS connection.
struct TlsFiles {
  std::filesystem::path certificate;  ///< Ours, followed by its intermediates if it has any.
  std::filesystem::path key;
  /// Who may be at the other end. Empty on a server: clients need no certificate.
  std::filesystem::path ca;
};

using TlsContext = std::shared_ptr<ssl_ctx_st>;

/// Both speak TLS 1.3 only, without session tickets: every connection proves its certificate anew.
/// Files are read now; a context does not change afterwards, so reloading means a new one.
///
/// Invalid: a file is missing, unreadable, no PEM, or the key is another certificate's; the message
/// names the file. A certificate that has expired loads (and is refused by the peer).
Result<TlsContext> makeServerTls(const TlsFiles& files);
/// `certificate` and `key` may both be empty: the client then has no identity.
Result<TlsContext> makeClientTls(const TlsFiles& files);

/// Makes the client end `ssl` accept only a certificate for `name`, an IP address or a DNS name
/// (which is also sent, as SNI). Call before the handshake.
Result<void> expectServerName(ssl_st* ssl, const std::string& name);

/// The one CN of a certificate's subject: 1 to 64 printable ASCII characters without spaces.
Result<std::string> commonNameOf(const x509_st* certificate);

/// Why verification refused `certificate` (X509_V_ERR_*), and what to do.
std::string explainVerifyError(int verify_error, const x509_st* certificate);

/// What an OpenSSL error code means to a person.
struct TlsFailure {
  std::string text;
  bool our_certificate_refused = false;  ///< By an alert of the peer.
};
TlsFailure explainTlsError(unsigned long code);

}  // namespace vms
