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
  /// Certificates that are refused all the same: PEM lists of CAs in `ca`. May be empty: none are.
  std::filesystem::path crl{};
};

using TlsContext = std::shared_ptr<ssl_ctx_st>;

/// Both speak TLS 1.3 only, without session tickets: every connection proves its certificate anew.
/// Files are read now; a context does not change afterwards, so reloading means a new one.
///
/// Invalid: a file is missing, unreadable, no PEM, the key is another certificate's, or a list is
/// of a CA that is not in `ca`; the message names the file. A certificate that has expired loads
/// (and is refused by the peer).
Result<TlsContext> makeServerTls(const TlsFiles& files);
/// `certificate` and `key` may both be empty: the client then has no identity.
Result<TlsContext> makeClientTls(const TlsFiles& files);

/// Makes the client end `ssl` accept only a certificate for `name`, an IP address or a DNS name
/// (which is also sent, as SNI). Call before the handshake.
Result<void> expectServerName(ssl_st* ssl, const std::string& name);

/// The one CN of a certificate's subject: 1 to 64 printable ASCII characters without spaces.
Result<std::string> commonNameOf(const x509_st* certificate);

/// Whether a peer that passed the handshake of `ssl` earlier would be let in by `tls` now, its
/// dates apart: not if it was revoked or its CA is not trusted any more. Unauthenticated says why.
Result<void> stillTrusted(const ssl_st* ssl, const TlsContext& tls);

/// Whether a verification goes on in spite of this X509_V_ERR_*: a CA that has no list has revoked
/// nothing, and the age of a list that lies on this machine's disk means nothing.
bool isTolerated(int verify_error);

/// "FILE (good until DATE)" of the certificate that `ssl` presents.
std::string describeOurs(const ssl_st* ssl, const std::string& file);

/// Why verification refused `certificate` (X509_V_ERR_*), and what to do.
std::string explainVerifyError(int verify_error, const x509_st* certificate);

/// What an OpenSSL error code means to a person.
struct TlsFailure {
  std::string text;
  bool our_certificate_refused = false;  ///< By an alert of the peer.
};
TlsFailure explainTlsError(unsigned long code);

}  // namespace vms
