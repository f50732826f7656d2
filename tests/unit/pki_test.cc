#include "schema/base/pki.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "schema/base/certificate.h"
#include "schema/base/files.h"
#include "schema/base/tls_context.h"

namespace vms {
namespace {

namespace fs = std::filesystem;

class Pki : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "vms-pki-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    folder_ = root_ / "pki";
  }
  void TearDown() override { fs::remove_all(root_); }

  static std::string content(const fs::path& file) { return readFile(file, 1U << 20U).value(); }

  static std::shared_ptr<X509> load(const fs::path& file) {
    const std::string text = content(file);
    BIO* const bio = BIO_new_mem_buf(text.data(), static_cast<int>(text.size()));
    std::shared_ptr<X509> certificate(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr),
                                      [](X509* c) { X509_free(c); });
    BIO_free(bio);
    return certificate;
  }

  /// X509_V_OK or why `certificate` is not acceptable for `purpose`.
  int verify(const fs::path& certificate, int purpose) {
    const auto ca = load(folder_ / "ca.crt");
    const auto leaf = load(certificate);
    X509_STORE* const store = X509_STORE_new();
    X509_STORE_add_cert(store, ca.get());
    X509_STORE_CTX* const context = X509_STORE_CTX_new();
    X509_STORE_CTX_init(context, store, leaf.get(), nullptr);
    X509_STORE_CTX_set_purpose(context, purpose);
    X509_verify_cert(context);
    const int error = X509_STORE_CTX_get_error(context);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    return error;
  }

  fs::path root_;
  fs::path folder_;
};

TEST_F(Pki, IssuesHostCertificatesThatAreGoodForClientsOnly) {
  ASSERT_TRUE(initCa(folder_));
  const auto files = issueHost(folder_, "h1", 30);
  ASSERT_TRUE(files);
  EXPECT_EQ(files->certificate, folder_ / "h1.crt");
  EXPECT_EQ(verify(files->certificate, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
  EXPECT_EQ(verify(files->certificate, X509_PURPOSE_SSL_SERVER), X509_V_ERR_INVALID_PURPOSE);
  EXPECT_EQ(commonNameOf(load(files->certificate).get()).value(), "h1");
}

TEST_F(Pki, IssuesServerCertificatesForAllTheirNames) {
  ASSERT_TRUE(initCa(folder_));
  const auto files = issueServer(folder_, "engine.example", 30);
  ASSERT_TRUE(files);
  EXPECT_EQ(verify(files->certificate, X509_PURPOSE_SSL_SERVER), X509_V_OK);
  EXPECT_EQ(verify(files->certificate, X509_PURPOSE_SSL_CLIENT), X509_V_ERR_INVALID_PURPOSE);
  const auto certificate = load(files->certificate);
  for (const char* name : {"engine.example", "localhost"}) {
    EXPECT_EQ(X509_check_host(certificate.get(), name, 0, 0, nullptr), 1) << name;
  }
  for (const char* address : {"127.0.0.1", "::1"}) {
    EXPECT_EQ(X509_check_ip_asc(certificate.get(), address, 0), 1) << address;
  }
  EXPECT_EQ(X509_check_host(certificate.get(), "other.example", 0, 0, nullptr), 0);
}

TEST_F(Pki, IssuesServerCertificatesForAddresses) {
  ASSERT_TRUE(initCa(folder_));
  const auto files = issueServer(folder_, "2001:db8::7", 30);
  ASSERT_TRUE(files);
  EXPECT_EQ(files->certificate, folder_ / "2001_db8__7.crt");
  EXPECT_EQ(X509_check_ip_asc(load(files->certificate).get(), "2001:db8::7", 0), 1);
}

TEST_F(Pki, ExpiresWithoutDaysLeft) {
  ASSERT_TRUE(initCa(folder_));
  for (const int days : {0, -1, -400}) {
    const auto files = issueHost(folder_, "h1", days, Existing::Replace);
    ASSERT_TRUE(files);
    EXPECT_EQ(verify(files->certificate, X509_PURPOSE_SSL_CLIENT), X509_V_ERR_CERT_HAS_EXPIRED)
        << days;
  }
}

TEST_F(Pki, NeverOutlivesItsCa) {
  ASSERT_TRUE(initCa(folder_));
  const auto files = issueHost(folder_, "h1", 36500);
  ASSERT_TRUE(files);
  EXPECT_EQ(ASN1_TIME_compare(X509_get0_notAfter(load(files->certificate).get()),
                              X509_get0_notAfter(load(folder_ / "ca.crt").get())),
            0);
}

TEST_F(Pki, KeepsKeysPrivateAndInPkcs8) {
  ASSERT_TRUE(initCa(folder_));
  ASSERT_TRUE(issueHost(folder_, "h1"));
  for (const char* name : {"ca.key", "h1.key"}) {
    struct stat status {};
    ASSERT_EQ(::stat((folder_ / name).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0600U) << name;
    EXPECT_TRUE(content(folder_ / name).starts_with("-----BEGIN PRIVATE KEY-----")) << name;
  }
}

TEST_F(Pki, NeverReplacesUnlessTold) {
  ASSERT_TRUE(initCa(folder_));
  ASSERT_TRUE(issueHost(folder_, "h1"));
  const std::string ca = content(folder_ / "ca.key");
  const std::string key = content(folder_ / "h1.key");

  const auto again = initCa(folder_);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().error_class, ErrorClass::Invalid);
  EXPECT_NE(again.error().message.find("ca.crt exists"), std::string::npos)
      << again.error().message;
  fs::remove(folder_ / "h1.crt");  // the key alone is reason enough
  EXPECT_FALSE(issueHost(folder_, "h1"));
  EXPECT_EQ(content(folder_ / "ca.key"), ca);
  EXPECT_EQ(content(folder_ / "h1.key"), key);

  ASSERT_TRUE(issueHost(folder_, "h1", 30, Existing::Replace));
  EXPECT_NE(content(folder_ / "h1.key"), key);
}

TEST_F(Pki, KeepsTheOldKeyWhenTheNewPairCannotBePlaced) {
  ASSERT_TRUE(initCa(folder_));
  ASSERT_TRUE(issueHost(folder_, "h1"));
  const std::string key = content(folder_ / "h1.key");
  fs::remove(folder_ / "h1.crt");
  fs::create_directory(folder_ / "h1.crt");
  std::ofstream(folder_ / "h1.crt" / "in_the_way") << "x";
  EXPECT_FALSE(issueHost(folder_, "h1", 30, Existing::Replace));
  EXPECT_EQ(content(folder_ / "h1.key"), key);
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    EXPECT_TRUE(entry.path().extension() != ".next" && entry.path().extension() != ".old")
        << entry.path();
  }
  fs::remove_all(folder_ / "h1.crt");
  ASSERT_TRUE(issueHost(folder_, "h1", 30, Existing::Replace));
  EXPECT_NE(content(folder_ / "h1.key"), key);
}

TEST_F(Pki, RefusesNamesThatAreNoFileNames) {
  ASSERT_TRUE(initCa(folder_));
  for (const char* name :
       {"", "ca", ".", "..", "../h1", "a/b", "-h", "h 1", "h:1", "h\n", "h\xc3\xa4"}) {
    const auto issued = issueHost(folder_, name);
    ASSERT_FALSE(issued) << name;
    EXPECT_EQ(issued.error().error_class, ErrorClass::Invalid) << name;
  }
  EXPECT_FALSE(issueHost(folder_, std::string(65, 'h')));
  EXPECT_TRUE(issueHost(folder_, std::string(64, 'h')));
  EXPECT_FALSE(issueServer(folder_, "not:an:address"));
}

TEST_F(Pki, NamesTheMissingCaAndTheNextStep) {
  const auto issued = issueHost(folder_, "h1");
  ASSERT_FALSE(issued);
  EXPECT_NE(issued.error().message.find("ca.crt"), std::string::npos) << issued.error().message;
  EXPECT_NE(issued.error().message.find("vmsctl pki init"), std::string::npos);
}

TEST_F(Pki, RefusesACaWhoseKeyIsAnother) {
  ASSERT_TRUE(initCa(folder_));
  ASSERT_TRUE(initCa(root_ / "other"));
  fs::copy_file(root_ / "other" / "ca.key", folder_ / "ca.key",
                fs::copy_options::overwrite_existing);
  const auto issued = issueHost(folder_, "h1");
  ASSERT_FALSE(issued);
  EXPECT_EQ(issued.error().error_class, ErrorClass::Invalid);
  EXPECT_FALSE(fs::exists(folder_ / "h1.crt"));
}

TEST_F(Pki, LeavesNoKeyWithoutItsCertificate) {
  ASSERT_TRUE(initCa(folder_));
  // Nothing can be renamed over a folder that is not empty.
  fs::create_directories(folder_ / "h1.crt" / "x");
  EXPECT_FALSE(issueHost(folder_, "h1", 30, Existing::Replace));
  EXPECT_FALSE(fs::exists(folder_ / "h1.key"));
}

TEST_F(Pki, DescribesWhatItIssued) {
  ASSERT_TRUE(initCa(folder_, Existing::Keep, 100));
  ASSERT_TRUE(issueHost(folder_, "h1", 30));
  ASSERT_TRUE(issueServer(folder_, "engine", 30));
  const auto ca = readCertificates(folder_ / "ca.crt").value();
  const auto host = readCertificates(folder_ / "h1.crt").value();
  const auto server = readCertificates(folder_ / "engine.crt").value();
  ASSERT_EQ(host.size(), 1U);
  EXPECT_EQ(host[0].common_name, "h1");
  EXPECT_EQ(host[0].issuer, ca[0].common_name);
  EXPECT_EQ(host[0].kind, CertificateKind::Host);
  EXPECT_EQ(server[0].kind, CertificateKind::Server);
  EXPECT_EQ(ca[0].kind, CertificateKind::Ca);
  EXPECT_EQ(host[0].not_after - host[0].not_before, std::chrono::hours(24 * 30 + 1));
  EXPECT_EQ(host[0].serial.size(), 32U);

  // A bundle holds what its parts hold; a broken part spoils it.
  std::string bundle = content(folder_ / "ca.crt") + content(folder_ / "h1.crt");
  ASSERT_TRUE(writeFileAtomically(root_ / "bundle", bundle));
  EXPECT_EQ(readCertificates(root_ / "bundle").value().size(), 2U);
  bundle.erase(bundle.size() - 40, 3);
  ASSERT_TRUE(writeFileAtomically(root_ / "bundle", bundle));
  EXPECT_FALSE(readCertificates(root_ / "bundle"));
  EXPECT_FALSE(readCertificates(folder_ / "h1.key"));
}

TEST_F(Pki, WarnsAMonthAhead) {
  ASSERT_TRUE(initCa(folder_));
  const auto file = issueHost(folder_, "h1", 100).value().certificate;
  const WallTime end = readCertificates(file).value()[0].not_after;
  EXPECT_TRUE(expiryWarnings({file, {}}, end - kExpiryWarning - seconds(1)).empty());
  EXPECT_EQ(expiryWarnings({file}, end - kExpiryWarning).size(), 1U);
  EXPECT_TRUE(refuseExpired(file, end - seconds(1)));
  const auto refused = refuseExpired(file, end);
  ASSERT_FALSE(refused);
  for (const char* part : {"h1.crt", "expired on 2", "vmsctl pki issue DIR --host h1 --renew"}) {
    EXPECT_NE(refused.error().message.find(part), std::string::npos) << refused.error().message;
  }
  EXPECT_EQ(expiryWarnings({file, folder_ / "absent.crt"}, end).size(), 2U);
}

TEST_F(Pki, RevokesEverythingThatWasEverIssued) {
  ASSERT_TRUE(initCa(folder_));
  EXPECT_TRUE(readRevocationLists(folder_ / "ca.crl").value()[0].serials.empty());
  EXPECT_EQ(revokeHost(folder_, "h1").error().error_class, ErrorClass::NotFound);
  std::vector<std::string> serials;
  for (int i = 0; i < 3; ++i) {
    const auto issued = issueHost(folder_, "h1", 30, Existing::Replace).value();
    serials.push_back(readCertificates(issued.certificate).value()[0].serial);
  }
  ASSERT_TRUE(issueHost(folder_, "h11"));
  ASSERT_TRUE(issueServer(folder_, "h1", 30, Existing::Replace));
  EXPECT_EQ(revokeHost(folder_, "h1").value().certificates, 3U);
  EXPECT_EQ(revokeHost(folder_, "h1").value().certificates, 0U);
  auto listed = readRevocationLists(folder_ / "ca.crl").value()[0].serials;
  std::sort(listed.begin(), listed.end());
  std::sort(serials.begin(), serials.end());
  EXPECT_EQ(listed, serials);

  // What was issued before there was a record is known by its file.
  ASSERT_TRUE(issueHost(folder_, "h2"));
  fs::remove(folder_ / "issued.txt");
  EXPECT_EQ(revokeHost(folder_, "h2").value().certificates, 1U);
  EXPECT_EQ(readRevocationLists(folder_ / "ca.crl").value()[0].serials.size(), 4U);
}

TEST_F(Pki, RemembersWhatWasIssuedAfterALineThatWasCutShort) {
  ASSERT_TRUE(initCa(folder_));
  std::ofstream(folder_ / "issued.txt") << "4a5b host h";
  ASSERT_TRUE(issueHost(folder_, "h1"));
  ASSERT_TRUE(issueHost(folder_, "h1", 30, Existing::Replace));
  EXPECT_EQ(revokeHost(folder_, "h1").value().certificates, 2U);
}

TEST_F(Pki, RevokesSideBySide) {
  constexpr int kHosts = 8;
  ASSERT_TRUE(initCa(folder_));
  const auto name = [](int number) { return "h" + std::to_string(number); };
  for (int i = 0; i < kHosts; ++i) ASSERT_TRUE(issueHost(folder_, name(i)));
  std::vector<std::thread> threads;
  for (int i = 0; i < kHosts; ++i) {
    threads.emplace_back([&, i] { EXPECT_TRUE(revokeHost(folder_, name(i))); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(readRevocationLists(folder_ / "ca.crl").value()[0].serials.size(), std::size_t{kHosts});
}

TEST_F(Pki, RefusesAListOfAnotherAuthority) {
  ASSERT_TRUE(initCa(folder_));
  ASSERT_TRUE(initCa(root_ / "other"));
  ASSERT_TRUE(issueServer(folder_, "engine"));
  TlsFiles files{folder_ / "engine.crt", folder_ / "engine.key", folder_ / "ca.crt",
                 folder_ / "ca.crl"};
  EXPECT_TRUE(makeServerTls(files));
  for (const fs::path& wrong :
       {root_ / "other" / "ca.crl", folder_ / "ca.crt", folder_ / "absent.crl"}) {
    files.crl = wrong;
    const auto refused = makeServerTls(files);
    ASSERT_FALSE(refused) << wrong;
    EXPECT_NE(refused.error().message.find(wrong.string()), std::string::npos)
        << refused.error().message;
  }
}

TEST_F(Pki, TlsContextsNameTheFileThatIsWrong) {
  ASSERT_TRUE(initCa(folder_));
  ASSERT_TRUE(issueServer(folder_, "engine"));
  ASSERT_TRUE(issueHost(folder_, "h1"));
  TlsFiles files{folder_ / "engine.crt", folder_ / "engine.key", folder_ / "ca.crt"};
  EXPECT_TRUE(makeServerTls(files));
  EXPECT_TRUE(makeClientTls({{}, {}, files.ca}));

  files.key = folder_ / "h1.key";
  auto wrong = makeServerTls(files);
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("h1.key"), std::string::npos) << wrong.error().message;

  files.key = folder_ / "absent.key";
  wrong = makeServerTls(files);
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("absent.key: No such file"), std::string::npos)
      << wrong.error().message;

  wrong = makeClientTls({{}, {}, folder_ / "engine.key"});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().error_class, ErrorClass::Invalid);
}

}  // namespace
}  // namespace vms
