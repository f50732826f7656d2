#include "schema/base/pki.h"

#include <openssl/rand.h>

#include <array>
#include <memory>
#include <set>
#include <system_error>

#include "schema/base/certificate.h"
#include "schema/base/files.h"
#include "schema/base/net_address.h"
#include "schema/base/tls_authority.h"

namespace vms {
namespace {

namespace fs = std::filesystem;

using NamesPtr = std::unique_ptr<GENERAL_NAMES, OpensslFreer<GENERAL_NAMES_free>>;

constexpr long kDaySeconds = 24 * 60 * 60;
constexpr long kClockSkewSeconds = 60 * 60;

enum class Use { Ca, Client, Server };

struct Template {
  Use use = Use::Client;
  std::string common_name;
  int days = 0;
};

bool isSafeName(const std::string& name, bool server) {
  if (name.empty() || name.size() > 64) return false;
  for (const char c : name) {
    const bool letter_or_digit =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    const bool inner = c == '.' || c == '-' || c == '_';
    if (!letter_or_digit && !inner && !(server && c == ':')) return false;
  }
  const bool address = server && isIpAddress(name);
  const char first = name.front();
  if (!address && (first == '.' || first == '-' || first == '_')) return false;
  return address || name.find(':') == std::string::npos;
}

IssuedFiles filesFor(const fs::path& folder, std::string name) {
  for (char& c : name) {
    if (c == ':') c = '_';
  }
  return {folder / (name + ".crt"), folder / (name + ".key")};
}

Result<void> refuseExisting(const IssuedFiles& files, Existing existing) {
  if (existing == Existing::Replace) return {};
  for (const fs::path& file : {files.certificate, files.key}) {
    std::error_code ignored;
    if (fs::exists(fs::symlink_status(file, ignored))) {
      return Error(ErrorClass::Invalid, file.string() + " exists and was left as it is; choose " +
                                            "another name or folder, or use --replace");
    }
  }
  return {};
}

fs::path withSuffix(fs::path path, const char* suffix) {
  path += suffix;
  return path;
}

IssuedFiles draftsOf(const IssuedFiles& files) {
  IssuedFiles drafts;
  drafts.certificate = withSuffix(files.certificate, ".next");
  drafts.key = withSuffix(files.key, ".next");
  return drafts;
}

void removeBoth(const IssuedFiles& files) {
  std::error_code ignored;
  fs::remove(files.certificate, ignored);
  fs::remove(files.key, ignored);
}

/// Puts both drafts in their places, or leaves what was there.
Result<void> publishPair(const IssuedFiles& drafts, const IssuedFiles& files) {
  const fs::path kept = withSuffix(files.key, ".old");
  std::error_code failed;
  const bool had_key = fs::exists(files.key, failed);
  if (had_key) fs::rename(files.key, kept, failed);
  const bool key_kept = had_key && !failed;
  if (!failed) fs::rename(drafts.key, files.key, failed);
  const bool key_placed = !failed;
  if (key_placed) fs::rename(drafts.certificate, files.certificate, failed);
  std::error_code ignored;
  if (!failed) {
    fs::remove(kept, ignored);
    const fs::path folder = files.key.parent_path();
    return syncDirectory(folder.empty() ? fs::path(".") : folder);
  }
  if (key_kept) {
    fs::rename(kept, files.key, ignored);
  } else if (key_placed) {
    fs::remove(files.key, ignored);
  }
  return Error(ErrorClass::Dependency,
               "cannot replace " + files.certificate.string() + ": " + failed.message());
}

/// A pair that was there stays until the new one has been written.
Result<IssuedFiles> writePair(const IssuedFiles& files, X509* certificate, EVP_PKEY* key) {
  const BioPtr certificate_pem(BIO_new(BIO_s_mem()));
  const BioPtr key_pem(BIO_new(BIO_s_secmem()));
  if (!certificate_pem || !key_pem || PEM_write_bio_X509(certificate_pem.get(), certificate) != 1 ||
      PEM_write_bio_PKCS8PrivateKey(key_pem.get(), key, nullptr, nullptr, 0, nullptr, nullptr) !=
          1) {
    return opensslError("cannot encode " + files.certificate.string());
  }
  std::string key_text = contentOf(key_pem.get());
  const IssuedFiles drafts = draftsOf(files);
  auto written = writeFileAtomically(drafts.key, key_text, 0600);
  OPENSSL_cleanse(key_text.data(), key_text.size());
  if (written) {
    written = writeFileAtomically(drafts.certificate, contentOf(certificate_pem.get()), 0644);
  }
  if (written) written = publishPair(drafts, files);
  if (written) return files;
  removeBoth(drafts);
  return withContext(written.error(), "no certificate was issued (free space or permissions?)");
}

bool setSerial(X509* certificate) {
  std::array<unsigned char, 16> bytes;
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) return false;
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x3FU) | 0x40U);  // positive, full length
  BIGNUM* const number = BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr);
  if (number == nullptr) return false;
  const bool set = BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
  BN_free(number);
  return set;
}

bool setValidity(X509* certificate, int days, const X509* ca) {
  const long until = days > 0 ? days * kDaySeconds : days * kDaySeconds - 1;
  const long from = std::min(0L, until) - kClockSkewSeconds;
  if (X509_gmtime_adj(X509_getm_notBefore(certificate), from) == nullptr ||
      X509_time_adj_ex(X509_getm_notAfter(certificate), static_cast<int>(until / kDaySeconds),
                       until % kDaySeconds, nullptr) == nullptr) {
    return false;
  }
  if (ca == nullptr ||
      ASN1_TIME_compare(X509_get0_notAfter(certificate), X509_get0_notAfter(ca)) <= 0) {
    return true;
  }
  return X509_set1_notAfter(certificate, X509_get0_notAfter(ca)) == 1;
}

bool setSubject(X509* certificate, const std::string& common_name) {
  // bit-identical to const unsigned char*; OpenSSL copies it
  const auto* const text = reinterpret_cast<const unsigned char*>(common_name.data());
  return X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName,
                                    MBSTRING_UTF8, text, static_cast<int>(common_name.size()), -1,
                                    0) == 1;
}

bool addExtension(X509* certificate, const X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, const_cast<X509*>(issuer), certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
  if (extension == nullptr) return false;
  const bool added = X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}

bool addName(GENERAL_NAMES* names, const std::string& name) {
  GENERAL_NAME* const entry = GENERAL_NAME_new();
  if (entry == nullptr) return false;
  if (isIpAddress(name)) {
    ASN1_OCTET_STRING* const address = a2i_IPADDRESS(name.c_str());
    if (address == nullptr) {
      GENERAL_NAME_free(entry);
      return false;
    }
    GENERAL_NAME_set0_value(entry, GEN_IPADD, address);
  } else {
    ASN1_IA5STRING* const text = ASN1_IA5STRING_new();
    if (text == nullptr || ASN1_STRING_set(text, name.data(), static_cast<int>(name.size())) != 1) {
      ASN1_IA5STRING_free(text);
      GENERAL_NAME_free(entry);
      return false;
    }
    GENERAL_NAME_set0_value(entry, GEN_DNS, text);
  }
  if (sk_GENERAL_NAME_push(names, entry) > 0) return true;
  GENERAL_NAME_free(entry);
  return false;
}

bool addServerNames(X509* certificate, const std::string& name) {
  const NamesPtr names(sk_GENERAL_NAME_new_null());
  if (!names) return false;
  for (const std::string& each : std::set<std::string>{name, "localhost", "127.0.0.1", "::1"}) {
    if (!addName(names.get(), each)) return false;
  }
  return X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, 0) == 1;
}

bool addExtensions(X509* certificate, const X509* issuer, const Template& wanted) {
  const auto add = [&](int nid, const char* value) {
    return addExtension(certificate, issuer, nid, value);
  };
  if (!add(NID_subject_key_identifier, "hash")) return false;
  if (wanted.use == Use::Ca) {
    return add(NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           add(NID_key_usage, "critical,keyCertSign,cRLSign");
  }
  const bool server = wanted.use == Use::Server;
  return add(NID_authority_key_identifier, "keyid:always") &&
         add(NID_basic_constraints, "critical,CA:FALSE") &&
         add(NID_key_usage, "critical,digitalSignature") &&
         add(NID_ext_key_usage, server ? "serverAuth" : "clientAuth") &&
         (!server || addServerNames(certificate, wanted.common_name));
}

/// Without an `issuer` the certificate signs itself.
Result<IssuedFiles> issue(const IssuedFiles& files, const Template& wanted,
                          const Authority* issuer) {
  ERR_clear_error();
  const KeyPtr key(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
  const CertificatePtr certificate(X509_new());
  if (!key || !certificate) return opensslError("cannot generate " + files.key.string());
  X509* const raw = certificate.get();
  const X509* const ca = issuer == nullptr ? nullptr : issuer->certificate.get();
  const X509* const signer = ca == nullptr ? raw : ca;
  EVP_PKEY* const signing_key = issuer == nullptr ? key.get() : issuer->key.get();
  const bool made = X509_set_version(raw, X509_VERSION_3) == 1 && setSerial(raw) &&
                    setValidity(raw, wanted.days, ca) && setSubject(raw, wanted.common_name) &&
                    X509_set_issuer_name(raw, X509_get_subject_name(signer)) == 1 &&
                    X509_set_pubkey(raw, key.get()) == 1 && addExtensions(raw, signer, wanted) &&
                    X509_sign(raw, signing_key, EVP_sha256()) > 0;
  if (!made) return opensslError("cannot make " + files.certificate.string());
  if (wanted.use != Use::Ca) {
    auto recorded = recordIssued(files.certificate.parent_path(), raw, wanted.common_name,
                                 wanted.use == Use::Server);
    if (!recorded) return recorded.error();
  }
  return writePair(files, raw, key.get());
}

Result<void> checkDays(int days) {
  constexpr int kMaxDays = 36500;
  if (days <= kMaxDays && days >= -kMaxDays) return {};
  return Error(ErrorClass::Invalid, "a validity of " + std::to_string(days) +
                                        " days is out of range; use 1 to " +
                                        std::to_string(kMaxDays));
}

Result<IssuedFiles> issueLeaf(const fs::path& folder, const Template& wanted, Existing existing) {
  const bool server = wanted.use == Use::Server;
  if (!isSafeName(wanted.common_name, server) || wanted.common_name == "ca") {
    return Error(ErrorClass::Invalid,
                 "'" + wanted.common_name + "' cannot name a certificate; use 1 to 64 letters, " +
                     "digits, '.', '-' or '_', beginning with a letter or digit, and not 'ca'");
  }
  if (auto checked = checkDays(wanted.days); !checked) return checked.error();
  const IssuedFiles files = filesFor(folder, wanted.common_name);
  if (auto refused = refuseExisting(files, existing); !refused) return refused.error();
  auto ca = loadAuthority(folder);
  if (!ca) return ca.error();
  return issue(files, wanted, &*ca);
}

Result<Revoked> revoke(const fs::path& folder, const std::string& name, bool server) {
  auto authority = loadAuthority(folder);
  if (!authority) return authority.error();
  auto serials = issuedFor(folder, name, server);
  if (!serials) return serials.error();
  // Of a time before issued.txt, or copied from elsewhere.
  if (const auto found = readCertificates(filesFor(folder, name).certificate); found) {
    const Certificate& last = found->front();
    const auto kind = server ? CertificateKind::Server : CertificateKind::Host;
    if (last.common_name == name && last.kind == kind) serials->push_back(last.serial);
  }
  if (serials->empty()) {
    return Error(ErrorClass::NotFound, folder.string() + " has issued no certificate for " +
                                           (server ? "server '" : "host '") + name +
                                           "'; 'vmsctl pki show " + folder.string() +
                                           "' lists what it has issued");
  }
  const auto added = writeRevocationList(folder, *authority, *serials);
  if (!added) return added.error();
  return Revoked{folder / "ca.crl", *added};
}

}  // namespace

Result<IssuedFiles> initCa(const fs::path& folder, Existing existing, int days) {
  if (auto checked = checkDays(days); !checked) return checked.error();
  std::error_code error;
  const bool is_new = fs::create_directories(folder, error);
  if (!error && is_new) fs::permissions(folder, fs::perms::owner_all, error);
  if (error) {
    return Error(ErrorClass::Dependency, "cannot make folder " + folder.string() + ": " +
                                             error.message() + "; choose one that you may write");
  }
  const IssuedFiles files = filesFor(folder, "ca");
  if (auto refused = refuseExisting(files, existing); !refused) return refused.error();
  // Its own name, so that two CAs are told apart in logs and by whoever looks up an issuer.
  std::array<unsigned char, 4> tag;
  if (RAND_bytes(tag.data(), static_cast<int>(tag.size())) != 1) {
    return opensslError("cannot draw a name for " + files.certificate.string());
  }
  std::string name = "VmsRunner CA ";
  for (const unsigned char byte : tag) {
    name += "0123456789abcdef"[byte >> 4U];
    name += "0123456789abcdef"[byte & 15U];
  }
  auto made = issue(files, Template{Use::Ca, name, days}, nullptr);
  if (!made) return made;
  // What an earlier authority of this folder did does not concern the new one.
  for (const char* const leftover : {"issued.txt", "ca.crl"}) fs::remove(folder / leftover, error);
  const auto authority = loadAuthority(folder);
  if (!authority) return authority.error();
  if (auto list = writeRevocationList(folder, *authority, {}); !list) return list.error();
  return made;
}

Result<IssuedFiles> issueHost(const fs::path& folder, const std::string& host, int days,
                              Existing existing) {
  return issueLeaf(folder, Template{Use::Client, host, days}, existing);
}

Result<IssuedFiles> issueServer(const fs::path& folder, const std::string& name, int days,
                                Existing existing) {
  return issueLeaf(folder, Template{Use::Server, name, days}, existing);
}

fs::path certificateFileFor(const fs::path& folder, const std::string& name) {
  return filesFor(folder, name).certificate;
}

Result<Revoked> revokeHost(const fs::path& folder, const std::string& host) {
  return revoke(folder, host, false);
}

Result<Revoked> revokeServer(const fs::path& folder, const std::string& name) {
  return revoke(folder, name, true);
}

}  // namespace vms
