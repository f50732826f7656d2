#include "schema/base/tls_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "schema/base/files.h"
#include "schema/base/net_address.h"
#include "schema/base/tls_objects.h"

namespace vms {
namespace {

std::string lastOpensslReason() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "unknown cause" : reason;
}

Error badFile(const std::filesystem::path& file, const std::string& what,
              const std::string& next_step) {
  // A missing or unreadable file is the usual cause, and OpenSSL hides it behind its own codes.
  std::string cause = lastOpensslReason();
  if (::access(file.c_str(), R_OK) != 0) cause = std::generic_category().message(errno);
  return {ErrorClass::Invalid,
          "cannot use " + what + " " + file.string() + ": " + cause + "; " + next_step};
}

Result<TlsContext> makeContext(const SSL_METHOD* method) {
  ERR_clear_error();
  TlsContext context(SSL_CTX_new(method), [](SSL_CTX* c) { SSL_CTX_free(c); });
  if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1) {
    return Error(ErrorClass::Internal, "cannot create a TLS context: " + lastOpensslReason());
  }
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  // A key with a pass phrase fails instead of asking on the terminal.
  SSL_CTX_set_default_passwd_cb(context.get(), [](char*, int, int, void*) { return 0; });
  return context;
}

Result<void> useOurCertificate(SSL_CTX* context, const TlsFiles& files) {
  if (SSL_CTX_use_certificate_chain_file(context, files.certificate.c_str()) != 1) {
    return badFile(files.certificate, "certificate", "issue one with 'vmsctl pki issue'");
  }
  if (SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1) {
    return badFile(files.key, "private key", "it must be the key of " + files.certificate.string());
  }
  return {};
}

Result<void> trustCa(SSL_CTX* context, const TlsFiles& files) {
  if (SSL_CTX_load_verify_file(context, files.ca.c_str()) != 1) {
    return badFile(files.ca, "CA certificate", "copy ca.crt from where 'vmsctl pki init' made it");
  }
  return {};
}

/// Whether a CA of `store` has signed `list`.
bool isSignedByOneOf(X509_STORE* store, X509_CRL* list) {
  using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, OpensslFreer<X509_STORE_CTX_free>>;
  const StoreContextPtr context(X509_STORE_CTX_new());
  if (!context || X509_STORE_CTX_init(context.get(), store, nullptr, nullptr) != 1) return false;
  STACK_OF(X509)* const found = X509_STORE_CTX_get1_certs(context.get(), X509_CRL_get_issuer(list));
  bool is_signed = false;
  for (int i = 0; i < sk_X509_num(found); ++i) {
    EVP_PKEY* const key = X509_get0_pubkey(sk_X509_value(found, i));
    is_signed = is_signed || (key != nullptr && X509_CRL_verify(list, key) == 1);
  }
  sk_X509_pop_free(found, X509_free);
  ERR_clear_error();
  return is_signed;
}

Result<void> heedRevocations(SSL_CTX* context, const TlsFiles& files) {
  if (files.crl.empty()) return {};
  const auto text = readFile(files.crl, kMaxPemBytes);
  if (!text) return withContext(text.error(), "cannot use the revocation list");
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  const BioPtr bio = bioOf(*text);
  std::size_t lists = 0;
  ERR_clear_error();
  while (const CrlPtr list{PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr)}) {
    if (!isSignedByOneOf(store, list.get())) {
      return Error(ErrorClass::Invalid, "revocation list " + files.crl.string() +
                                            " was made by no CA in " + files.ca.string() +
                                            "; give the ca.crl of the same folder as its ca.crt");
    }
    if (X509_STORE_add_crl(store, list.get()) != 1) {
      return badFile(files.crl, "revocation list", "make it again with 'vmsctl pki revoke'");
    }
    ++lists;
  }
  const unsigned long code = ERR_peek_last_error();
  if (ERR_GET_REASON(code) != PEM_R_NO_START_LINE || lists == 0) {
    return badFile(files.crl, "revocation list", "give the ca.crl that 'vmsctl pki' made");
  }
  ERR_clear_error();
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
  return {};
}

// What the macro SSL_set_tlsext_host_name does, without its C casts.
bool setSni(SSL* ssl, const std::string& name) {
  return SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                  const_cast<char*>(name.c_str())) == 1;
}

struct AlertText {
  int reason;
  const char* text;
};

// Alerts by which a peer refuses our certificate.
constexpr std::array kCertificateAlerts = {
    AlertText{SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "it is not acceptable"},
    AlertText{SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, "it is of the wrong kind"},
    AlertText{SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "it was revoked"},
    AlertText{SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "it has expired"},
    AlertText{SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "it is not acceptable"},
    AlertText{SSL_R_TLSV1_ALERT_UNKNOWN_CA, "its CA is not trusted there"},
    AlertText{SSL_R_TLSV1_ALERT_ACCESS_DENIED, "access was denied"},
    AlertText{SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "none was presented"},
};

constexpr std::array kOtherReasons = {
    AlertText{SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "the peer has no client certificate"},
    AlertText{SSL_R_UNSUPPORTED_PROTOCOL, "the peer does not speak TLS 1.3"},
    AlertText{SSL_R_VERSION_TOO_LOW, "the peer does not speak TLS 1.3"},
    AlertText{SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the peer does not speak TLS 1.3"},
    AlertText{SSL_R_WRONG_VERSION_NUMBER, "the peer does not speak TLS"},
    AlertText{SSL_R_HTTP_REQUEST, "the peer speaks plain HTTP"},
    AlertText{SSL_R_UNEXPECTED_EOF_WHILE_READING, "the peer closed the connection"},
};

}  // namespace

Result<TlsContext> makeServerTls(const TlsFiles& files) {
  auto context = makeContext(TLS_server_method());
  if (!context) return context;
  if (auto used = useOurCertificate(context->get(), files); !used) return used.error();
  if (files.ca.empty()) return context;
  if (auto trusted = trustCa(context->get(), files); !trusted) return trusted.error();
  if (auto heeded = heedRevocations(context->get(), files); !heeded) return heeded.error();
  STACK_OF(X509_NAME)* const names = SSL_load_client_CA_file(files.ca.c_str());
  if (names == nullptr) return badFile(files.ca, "CA certificate", "it must hold certificates");
  SSL_CTX_set_client_CA_list(context->get(), names);
  SSL_CTX_set_verify(context->get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return context;
}

Result<TlsContext> makeClientTls(const TlsFiles& files) {
  auto context = makeContext(TLS_client_method());
  if (!context) return context;
  if (!files.certificate.empty() || !files.key.empty()) {
    if (auto used = useOurCertificate(context->get(), files); !used) return used.error();
  }
  if (auto trusted = trustCa(context->get(), files); !trusted) return trusted.error();
  if (auto heeded = heedRevocations(context->get(), files); !heeded) return heeded.error();
  SSL_CTX_set_verify(context->get(), SSL_VERIFY_PEER, nullptr);
  return context;
}

Result<void> expectServerName(ssl_st* ssl, const std::string& name) {
  X509_VERIFY_PARAM* const parameters = SSL_get0_param(ssl);
  X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  const bool set = isIpAddress(name) ? X509_VERIFY_PARAM_set1_ip_asc(parameters, name.c_str()) == 1
                                     : setSni(ssl, name) && X509_VERIFY_PARAM_set1_host(
                                                                parameters, name.c_str(), 0) == 1;
  if (set) return {};
  ERR_clear_error();
  return Error(ErrorClass::Invalid, "'" + name + "' cannot be the name of a server");
}

Result<std::string> commonNameOf(const x509_st* certificate) {
  constexpr int kMaxBytes = 64;
  const auto refuse = [](const char* cause) {
    return Error(ErrorClass::Unauthenticated,
                 "certificate " + std::string(cause) + "; issue it with 'vmsctl pki issue --host'");
  };
  const X509_NAME* const subject = X509_get_subject_name(certificate);
  const int place = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (place < 0) return refuse("has no common name");
  if (X509_NAME_get_index_by_NID(subject, NID_commonName, place) >= 0) {
    return refuse("has more than one common name");
  }
  unsigned char* utf8 = nullptr;
  const int size =
      ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, place)));
  if (size < 0) {
    ERR_clear_error();
    return refuse("has an unreadable common name");
  }
  const std::string name(utf8, utf8 + size);
  OPENSSL_free(utf8);
  if (size == 0 || size > kMaxBytes) return refuse("has a common name that is empty or too long");
  for (const char c : name) {
    if (c <= ' ' || c > '~') return refuse("has a common name with unusual characters");
  }
  return name;
}

Result<void> stillTrusted(const ssl_st* ssl, const TlsContext& tls) {
  using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, OpensslFreer<X509_STORE_CTX_free>>;
  const StoreContextPtr context(X509_STORE_CTX_new());
  X509* const peer = SSL_get0_peer_certificate(ssl);
  if (!context || X509_STORE_CTX_init(context.get(), SSL_CTX_get_cert_store(tls.get()), peer,
                                      SSL_get_peer_cert_chain(ssl)) != 1) {
    return opensslError("cannot verify a certificate again");
  }
  X509_STORE_CTX_set_default(context.get(), SSL_is_server(ssl) == 1 ? "ssl_client" : "ssl_server");
  X509_STORE_CTX_set_flags(context.get(), X509_V_FLAG_NO_CHECK_TIME);
  X509_STORE_CTX_set_verify_cb(context.get(), [](int accepted, X509_STORE_CTX* current) {
    return accepted == 1 || isTolerated(X509_STORE_CTX_get_error(current)) ? 1 : 0;
  });
  if (X509_verify_cert(context.get()) == 1) return {};
  ERR_clear_error();
  return Error(ErrorClass::Unauthenticated,
               explainVerifyError(X509_STORE_CTX_get_error(context.get()), peer));
}

bool isTolerated(int verify_error) {
  return verify_error == X509_V_ERR_UNABLE_TO_GET_CRL ||
         verify_error == X509_V_ERR_CRL_NOT_YET_VALID || verify_error == X509_V_ERR_CRL_HAS_EXPIRED;
}

std::string describeOurs(const ssl_st* ssl, const std::string& file) {
  const X509* const ours = SSL_get_certificate(ssl);
  if (ours == nullptr) return file;
  return file + " (good until " + formatRfc3339(wallTimeOf(X509_get0_notAfter(ours))) + ")";
}

std::string explainVerifyError(int verify_error, const x509_st* certificate) {
  std::string subject;
  if (certificate != nullptr) {
    if (auto name = commonNameOf(certificate)) subject = " of '" + *name + "'";
  }
  std::string what = X509_verify_cert_error_string(verify_error);
  std::string next_step = "issue it from the CA that the other side trusts";
  switch (verify_error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      if (certificate != nullptr) {
        what += " on " + formatRfc3339(wallTimeOf(X509_get0_notAfter(certificate)));
      }
      next_step = "issue a new one with 'vmsctl pki issue --renew'";
      break;
    case X509_V_ERR_CERT_REVOKED:
      next_step = "if it may come back, issue a new one with 'vmsctl pki issue --replace'";
      break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
      next_step = "compare the clocks of both machines";
      break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      next_step = "dial it by a name that it was issued for, or set the server name";
      break;
    case X509_V_ERR_INVALID_PURPOSE:
      next_step = "hosts need one issued with --host, servers one with --server";
      break;
    default:
      break;
  }
  return "certificate" + subject + " refused: " + what + "; " + next_step;
}

TlsFailure explainTlsError(unsigned long code) {
  const int reason = ERR_GET_REASON(code);
  if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
    for (const AlertText& alert : kCertificateAlerts) {
      if (alert.reason == reason) return {alert.text, true};
    }
    for (const AlertText& other : kOtherReasons) {
      if (other.reason == reason) return {other.text, false};
    }
  }
  const char* const text = ERR_reason_error_string(code);
  return {text == nullptr ? "TLS error " + std::to_string(code) : text, false};
}

}  // namespace vms
