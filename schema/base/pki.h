#pragma once

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

// Certificates for development and small sites: one CA per folder, EC P-256 keys, written durably.
// All three block on the disk. Unless `Replace`, an existing certificate or key is an error
// (Invalid) and nothing is changed. Other errors name the file, the cause and the next step.

/// Makes `folder` (mode 0700) if need be, and in it ca.crt and ca.key, valid for ten years.
/// Replacing a CA makes everything it issued worthless.
Result<IssuedFiles> initCa(const std::filesystem::path& folder, Existing existing = Existing::Keep);

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

}  // namespace vms
