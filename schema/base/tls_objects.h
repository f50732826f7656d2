#pragma once

// OpenSSL's objects with owners, for the files that make and read certificates.

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <memory>
#include <string>

#include "schema/base/error.h"
#include "schema/base/time.h"

namespace vms {

template <auto Free>
struct OpensslFreer {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, OpensslFreer<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, OpensslFreer<X509_free>>;
using CrlPtr = std::unique_ptr<X509_CRL, OpensslFreer<X509_CRL_free>>;
using BioPtr = std::unique_ptr<BIO, OpensslFreer<BIO_free>>;
using NumberPtr = std::unique_ptr<BIGNUM, OpensslFreer<BN_free>>;

inline constexpr std::size_t kMaxPemBytes = 1U << 20U;

/// Reads from `text`, which must outlive it.
inline BioPtr bioOf(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

inline std::string contentOf(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_ctrl(bio, BIO_CTRL_INFO, 0, &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

/// "<context>: <what OpenSSL says>"; its queue of errors is empty afterwards.
inline Error opensslError(const std::string& context) {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return {ErrorClass::Internal, context + ": " + (reason == nullptr ? "OpenSSL failed" : reason)};
}

/// 1970 when it cannot be read.
inline WallTime wallTimeOf(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return {};
  return {static_cast<std::int64_t>(timegm(&parts)) * 1000};
}

/// Lower-case hexadecimal.
std::string serialText(const ASN1_INTEGER* serial);

}  // namespace vms
