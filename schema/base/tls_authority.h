#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "schema/base/error.h"
#include "schema/base/tls_objects.h"

namespace vms {

/// A certificate authority in its folder: ca.crt and ca.key, the list ca.crl of what it has
/// revoked, and issued.txt, a line for each certificate that it ever issued.
struct Authority {
  KeyPtr key;
  CertificatePtr certificate;
};

// All block on the disk; errors name the file and the next step.

Result<Authority> loadAuthority(const std::filesystem::path& folder);

/// Remembers a certificate, durably; call before it is written, so that all can be revoked.
Result<void> recordIssued(const std::filesystem::path& folder, const X509* certificate,
                          const std::string& name, bool server);
/// The serials of all certificates that were issued for `name`, oldest first.
Result<std::vector<std::string>> issuedFor(const std::filesystem::path& folder,
                                           const std::string& name, bool server);

/// Writes ca.crl with what it held and `serials`. Returns how many of them are new.
Result<std::size_t> writeRevocationList(const std::filesystem::path& folder,
                                        const Authority& authority,
                                        const std::vector<std::string>& serials);

}  // namespace vms
