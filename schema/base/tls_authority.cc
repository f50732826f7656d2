#include "schema/base/tls_authority.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <sstream>
#include <system_error>
#include <utility>

#include "schema/base/certificate.h"
#include "schema/base/files.h"
#include "schema/base/unique_fd.h"

namespace vms {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxRecordBytes = 64U << 20U;
constexpr long kClockSkewSeconds = 60 * 60;

using RevokedPtr = std::unique_ptr<X509_REVOKED, OpensslFreer<X509_REVOKED_free>>;
using SerialPtr = std::unique_ptr<ASN1_INTEGER, OpensslFreer<ASN1_INTEGER_free>>;
using TimePtr = std::unique_ptr<ASN1_TIME, OpensslFreer<ASN1_TIME_free>>;

/// Held while a file of the authority is added to: several may be at work on one folder.
Result<UniqueFd> lockFolder(const fs::path& folder) {
  UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  while (fd && ::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return errnoError(errno, "cannot lock folder " + folder.string());
  }
  if (!fd) return errnoError(errno, "cannot open folder " + folder.string());
  return fd;
}

/// Whether the last write to `fd` was cut short, by a full disk or a crash.
bool endsInsideALine(int fd) {
  const off_t size = ::lseek(fd, 0, SEEK_END);
  char last = '\n';
  return size > 0 && ::pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

/// The lines of issued.txt; none if there is no such file yet.
Result<std::string> readRecord(const fs::path& folder) {
  auto text = readFile(folder / "issued.txt", kMaxRecordBytes);
  if (!text && text.error().error_class == ErrorClass::NotFound) return std::string();
  return text;
}

/// What the list of `folder` holds now; an authority from before there were lists has none.
Result<std::vector<std::string>> alreadyRevoked(const fs::path& folder) {
  const fs::path file = folder / "ca.crl";
  std::vector<std::string> serials;
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return serials;
  const auto lists = readRevocationLists(file);
  if (!lists) return lists.error();
  for (const RevocationList& list : *lists) {
    serials.insert(serials.end(), list.serials.begin(), list.serials.end());
  }
  return serials;
}

bool addRevoked(X509_CRL* list, const std::string& serial, const ASN1_TIME* now) {
  BIGNUM* raw = nullptr;
  if (BN_hex2bn(&raw, serial.c_str()) == 0) return false;
  const NumberPtr number(raw);
  const SerialPtr integer(BN_to_ASN1_INTEGER(number.get(), nullptr));
  RevokedPtr entry(X509_REVOKED_new());
  if (!integer || !entry || X509_REVOKED_set_serialNumber(entry.get(), integer.get()) != 1 ||
      X509_REVOKED_set_revocationDate(entry.get(), const_cast<ASN1_TIME*>(now)) != 1 ||
      X509_CRL_add0_revoked(list, entry.get()) != 1) {
    return false;
  }
  entry.release();  // the list's own now
  return true;
}

bool fill(X509_CRL* list, const Authority& authority, const std::vector<std::string>& serials) {
  X509* const ca = authority.certificate.get();
  const TimePtr now(X509_gmtime_adj(nullptr, -kClockSkewSeconds));
  if (!now || X509_CRL_set_version(list, X509_CRL_VERSION_2) != 1 ||
      X509_CRL_set_issuer_name(list, X509_get_subject_name(ca)) != 1 ||
      X509_CRL_set1_lastUpdate(list, now.get()) != 1 ||
      // It stays the newest until another is written: there is no service that publishes them.
      X509_CRL_set1_nextUpdate(list, X509_get0_notAfter(ca)) != 1) {
    return false;
  }
  for (const std::string& serial : serials) {
    if (!addRevoked(list, serial, now.get())) return false;
  }
  return X509_CRL_sort(list) == 1 && X509_CRL_sign(list, authority.key.get(), EVP_sha256()) > 0;
}

}  // namespace

Result<Authority> loadAuthority(const fs::path& folder) {
  const fs::path certificate = folder / "ca.crt";
  const fs::path key = folder / "ca.key";
  const std::string next_step = "run 'vmsctl pki init " + folder.string() + "' first";
  auto certificate_text = readFile(certificate, kMaxPemBytes);
  if (!certificate_text) return withContext(certificate_text.error(), "no CA; " + next_step);
  auto key_text = readFile(key, kMaxPemBytes);
  if (!key_text) return withContext(key_text.error(), "no CA key; " + next_step);

  ERR_clear_error();
  Authority authority;
  authority.certificate.reset(
      PEM_read_bio_X509(bioOf(*certificate_text).get(), nullptr, nullptr, nullptr));
  // An empty pass phrase instead of a prompt on the terminal.
  std::string no_pass_phrase;
  authority.key.reset(
      PEM_read_bio_PrivateKey(bioOf(*key_text).get(), nullptr, nullptr, no_pass_phrase.data()));
  OPENSSL_cleanse(key_text->data(), key_text->size());
  const bool usable = authority.certificate && authority.key &&
                      X509_check_private_key(authority.certificate.get(), authority.key.get()) == 1;
  ERR_clear_error();
  if (!usable) {
    return Error(ErrorClass::Invalid, certificate.string() + " and " + key.string() +
                                          " are no pair of PEM certificate and key; restore them " +
                                          "or make a new CA in another folder");
  }
  return authority;
}

Result<void> recordIssued(const fs::path& folder, const X509* certificate, const std::string& name,
                          bool server) {
  const fs::path file = folder / "issued.txt";
  std::string line = serialText(X509_get0_serialNumber(certificate)) +
                     (server ? " server " : " host ") + name + " until " +
                     formatRfc3339(wallTimeOf(X509_get0_notAfter(certificate))) + "\n";
  const auto lock = lockFolder(folder);
  if (!lock) return lock.error();
  const UniqueFd fd(::open(file.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (fd && endsInsideALine(fd.get())) line.insert(line.begin(), '\n');
  if (!fd || ::write(fd.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()) ||
      ::fsync(fd.get()) != 0) {
    return withContext(errnoError(errno, file.string()),
                       "no certificate was issued (free space or permissions?)");
  }
  return syncDirectory(folder);
}

Result<std::vector<std::string>> issuedFor(const fs::path& folder, const std::string& name,
                                           bool server) {
  const auto text = readRecord(folder);
  if (!text) return text.error();
  std::vector<std::string> serials;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string serial, kind, whose;
    words >> serial >> kind >> whose;
    if (whose == name && kind == (server ? "server" : "host")) serials.push_back(serial);
  }
  return serials;
}

Result<std::size_t> writeRevocationList(const fs::path& folder, const Authority& authority,
                                        const std::vector<std::string>& serials) {
  const auto lock = lockFolder(folder);
  if (!lock) return lock.error();
  auto all = alreadyRevoked(folder);
  if (!all) return all.error();
  const std::size_t before = all->size();
  for (const std::string& serial : serials) {
    if (std::find(all->begin(), all->end(), serial) == all->end()) all->push_back(serial);
  }
  ERR_clear_error();
  const fs::path file = folder / "ca.crl";
  const CrlPtr list(X509_CRL_new());
  const BioPtr pem(BIO_new(BIO_s_mem()));
  if (!list || !pem || !fill(list.get(), authority, *all) ||
      PEM_write_bio_X509_CRL(pem.get(), list.get()) != 1) {
    return opensslError("cannot make " + file.string());
  }
  if (auto written = writeFileAtomically(file, contentOf(pem.get()), 0644); !written) {
    return written.error();
  }
  return all->size() - before;
}

}  // namespace vms
