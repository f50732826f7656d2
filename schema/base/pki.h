#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "schema/base/error.h"

namespace vms {

/// Where a certificate and its key were written: PEM, the key as PKCS#8 with mode 0600.
struct IssuedFiles {
  std::filesystem::path certificate;
  std::filesystem::path key;
};

/// What an existing file of the same name means.
enum class Existing { Keep, Replace };

inline constexpr int kDefaultCertificateDays = 825;
inline constexpr int kDefaultCaDays = 3652;

// Certificates for development and small sites: one CA per folder, EC P-256 keys, written durably.
// All block on the disk. Unless `Replace`, an existing certificate or key is an error
// (Invalid) and nothing is changed. Other errors name the file, the cause and the next step.

/// Makes `folder` (mode 0700) if need be, and in it ca.crt, ca.key and ca.crl, a list that revokes
/// nothing yet. Replacing a CA makes everything it issued worthless.
Result<IssuedFiles> initCa(const std::filesystem::path& folder, Existing existing = Existing::Keep,
                           int days = kDefaultCaDays);

/// `host`.crt and `host`.key for an agent: CN = `host`, good for clients only. `host` is 1 to 64 of
/// letters, digits, '.', '-' and '_', and begins with a letter or digit. With `days` <= 0 the
/// certificate has already expired; it never outlives the CA.
Result<IssuedFiles> issueHost(const std::filesystem::path& folder, const std::string& host,
                              int days = kDefaultCertificateDays,
                              Existing existing = Existing::Keep);

/// `name`.crt and `name`.key for an engine, good for servers only and for the names `name` (DNS or
/// IP address), localhost, 127.0.0.1 and ::1. In file names ':' becomes '_'.
Result<IssuedFiles> issueServer(const std::filesystem::path& folder, const std::string& name,
                                int days = kDefaultCertificateDays,
                                Existing existing = Existing::Keep);

/// Where the certificate of `name` lies in an authority's folder.
std::filesystem::path certificateFileFor(const std::filesystem::path& folder,
                                         const std::string& name);

struct Revoked {
  std::filesystem::path list;    ///< To be copied to whoever must know.
  std::size_t certificates = 0;  ///< That were not revoked before.
};

/// Adds every certificate that was ever issued for `host` to ca.crl; later ones are not concerned.
/// NotFound: there is none.
Result<Revoked> revokeHost(const std::filesystem::path& folder, const std::string& host);
/// The same for an engine's certificates.
Result<Revoked> revokeServer(const std::filesystem::path& folder, const std::string& name);

}  // namespace vms
