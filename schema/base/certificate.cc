#include "schema/base/certificate.h"

#include <openssl/x509v3.h>

#include <utility>

#include "schema/base/files.h"
#include "schema/base/tls_context.h"
#include "schema/base/tls_objects.h"

namespace vms {
namespace {

namespace fs = std::filesystem;

std::string nameIn(const X509_NAME* subject) {
  char text[65] = {};
  const int size = X509_NAME_get_text_by_NID(subject, NID_commonName, text, sizeof text);
  return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : std::string();
}

CertificateKind kindOf(X509* certificate) {
  if (X509_check_ca(certificate) != 0) return CertificateKind::Ca;
  const std::uint32_t uses = X509_get_extended_key_usage(certificate);
  if (uses == XKU_SSL_CLIENT) return CertificateKind::Host;
  if (uses == XKU_SSL_SERVER) return CertificateKind::Server;
  return CertificateKind::Other;
}

Certificate describe(X509* certificate) {
  Certificate found;
  found.common_name = nameIn(X509_get_subject_name(certificate));
  found.issuer = nameIn(X509_get_issuer_name(certificate));
  found.kind = kindOf(certificate);
  found.serial = serialText(X509_get0_serialNumber(certificate));
  found.not_before = wallTimeOf(X509_get0_notBefore(certificate));
  found.not_after = wallTimeOf(X509_get0_notAfter(certificate));
  return found;
}

RevocationList describe(X509_CRL* list) {
  RevocationList found;
  found.issuer = nameIn(X509_CRL_get_issuer(list));
  found.updated = wallTimeOf(X509_CRL_get0_lastUpdate(list));
  const STACK_OF(X509_REVOKED)* const revoked = X509_CRL_get_REVOKED(list);
  for (int i = 0; i < sk_X509_REVOKED_num(revoked); ++i) {
    found.serials.push_back(
        serialText(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(revoked, i))));
  }
  return found;
}

/// Everything of one type in a PEM file, read by `next` until it returns nothing.
template <class Described, class Next>
Result<std::vector<Described>> readAll(const fs::path& file, const char* what, Next next) {
  const auto text = readFile(file, kMaxPemBytes);
  if (!text) return text.error();
  ERR_clear_error();
  const BioPtr bio = bioOf(*text);
  std::vector<Described> found;
  while (auto object = next(bio.get())) found.push_back(describe(object.get()));
  const unsigned long code = ERR_peek_last_error();
  const bool at_end =
      ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
  if (!at_end || found.empty()) {
    ERR_clear_error();
    return Error(ErrorClass::Invalid, file.string() + ": " +
                                          (at_end ? "holds no PEM " : "holds a broken PEM ") +
                                          what + "; give a PEM file that holds one");
  }
  ERR_clear_error();
  return found;
}

std::string dateOf(WallTime time) { return formatRfc3339(time).substr(0, 10); }

std::string nextStep(const Certificate& certificate) {
  const std::string& name = certificate.common_name;
  switch (certificate.kind) {
    case CertificateKind::Host:
      return "renew it with 'vmsctl pki issue DIR --host " + name + " --renew'";
    case CertificateKind::Server:
      return "renew it with 'vmsctl pki issue DIR --server " + name + " --renew'";
    case CertificateKind::Ca:
      return "replace the authority; docs/operations/security.md tells how";
    case CertificateKind::Other:
      break;
  }
  return "get a new one from its authority";
}

std::string named(const fs::path& file, const Certificate& certificate) {
  return "certificate " + file.string() + " of '" + certificate.common_name + "'";
}

std::string expiredText(const fs::path& file, const Certificate& certificate) {
  return named(file, certificate) + " expired on " + dateOf(certificate.not_after) + "; " +
         nextStep(certificate);
}

}  // namespace

std::string serialText(const ASN1_INTEGER* serial) {
  const NumberPtr number(ASN1_INTEGER_to_BN(serial, nullptr));
  char* const digits = number ? BN_bn2hex(number.get()) : nullptr;
  std::string text = digits == nullptr ? "" : digits;
  OPENSSL_free(digits);
  for (char& c : text) {
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

std::string_view nameOf(CertificateKind kind) {
  switch (kind) {
    case CertificateKind::Ca:
      return "ca";
    case CertificateKind::Host:
      return "host";
    case CertificateKind::Server:
      return "server";
    case CertificateKind::Other:
      break;
  }
  return "other";
}

Result<std::vector<Certificate>> readCertificates(const fs::path& file) {
  return readAll<Certificate>(file, "certificate", [](BIO* bio) {
    return CertificatePtr(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr));
  });
}

Result<std::vector<RevocationList>> readRevocationLists(const fs::path& file) {
  return readAll<RevocationList>(file, "revocation list", [](BIO* bio) {
    return CrlPtr(PEM_read_bio_X509_CRL(bio, nullptr, nullptr, nullptr));
  });
}

std::vector<std::string> expiryWarnings(const std::vector<fs::path>& files, WallTime now) {
  std::vector<std::string> warnings;
  for (const fs::path& file : files) {
    if (file.empty()) continue;
    const auto certificates = readCertificates(file);
    if (!certificates) {
      warnings.push_back(certificates.error().message);
      continue;
    }
    for (const Certificate& certificate : *certificates) {
      const Duration left = certificate.not_after - now;
      if (left <= Duration{}) {
        warnings.push_back(expiredText(file, certificate));
      } else if (left <= kExpiryWarning) {
        const auto days = std::chrono::duration_cast<std::chrono::hours>(left).count() / 24;
        warnings.push_back(named(file, certificate) + " expires on " +
                           dateOf(certificate.not_after) + ", in " + std::to_string(days) +
                           (days == 1 ? " day; " : " days; ") + nextStep(certificate));
      }
    }
  }
  return warnings;
}

Result<void> refuseExpired(const fs::path& file, WallTime now) {
  const auto certificates = readCertificates(file);
  if (!certificates) return certificates.error();
  const Certificate& ours = certificates->front();
  if (ours.not_after > now) return {};
  return Error(ErrorClass::Invalid, expiredText(file, ours));
}

}  // namespace vms
