#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "schema/base/error.h"
#include "schema/base/time.h"

namespace vms {

/// What a certificate is good for.
enum class CertificateKind { Ca, Host, Server, Other };
/// "ca", "host", "server" or "other".
std::string_view nameOf(CertificateKind kind);

/// What a PEM file says about one certificate; nothing is verified.
struct Certificate {
  std::string common_name;  ///< Empty when there is none that could be a name.
  std::string issuer;       ///< Likewise.
  CertificateKind kind = CertificateKind::Other;
  std::string serial;  ///< Lower-case hexadecimal.
  WallTime not_before;
  WallTime not_after;
};

/// What a certificate authority has revoked.
struct RevocationList {
  std::string issuer;
  WallTime updated;
  std::vector<std::string> serials;  ///< As of Certificate.
};

// Both read a PEM file and block on the disk. Invalid: it holds none, or a broken one; other errors
// are the file's.

/// At least one, in the file's order.
Result<std::vector<Certificate>> readCertificates(const std::filesystem::path& file);
/// At least one.
Result<std::vector<RevocationList>> readRevocationLists(const std::filesystem::path& file);

/// How long before its end a certificate is warned of.
inline constexpr Duration kExpiryWarning = std::chrono::hours(24 * 30);

/// One line for each certificate in `files` that has expired or will within kExpiryWarning, and for
/// each file that cannot be read; empty paths are skipped. For logs.
std::vector<std::string> expiryWarnings(const std::vector<std::filesystem::path>& files,
                                        WallTime now);

/// Invalid, with file, date and next step, if the first certificate of `file` has expired. For a
/// new file that is to replace a good one.
Result<void> refuseExpired(const std::filesystem::path& file, WallTime now);

}  // namespace vms
