#include "tests/integration/tls_peer.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "schema/base/net_address.h"

namespace vms {

RawPeer::RawPeer(const std::string& address)
    : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(parseNetAddress(address).value().port);
  EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
}

void RawPeer::sendPlain(const std::string& bytes) {
  [[maybe_unused]] const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

std::string RawPeer::readPlainToEnd() {
  std::string all;
  std::array<char, 4096> block;
  for (;;) {
    const ssize_t got = ::recv(fd_.get(), block.data(), block.size(), 0);
    if (got <= 0) return all;
    all.append(block.data(), static_cast<std::size_t>(got));
  }
}

bool RawPeer::startTls(const TlsOptions& options) {
  context_.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_max_proto_version(context_.get(), options.max_version);
  if (!options.files.certificate.empty()) {
    SSL_CTX_use_certificate_chain_file(context_.get(), options.files.certificate.c_str());
    SSL_CTX_use_PrivateKey_file(context_.get(), options.files.key.c_str(), SSL_FILETYPE_PEM);
  }
  ssl_.reset(SSL_new(context_.get()));
  SSL_set_fd(ssl_.get(), fd_.get());
  return SSL_connect(ssl_.get()) == 1;
}

void RawPeer::send(const std::string& bytes) {
  EXPECT_GT(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())), 0);
}

std::string RawPeer::readSome() {
  std::array<char, 4096> block;
  ERR_clear_error();
  const int got = SSL_read(ssl_.get(), block.data(), static_cast<int>(block.size()));
  if (got > 0) return {block.data(), static_cast<std::size_t>(got)};
  const unsigned long code = ERR_peek_error();
  failure_ = code == 0 ? "closed" : explainTlsError(code).text;
  return {};
}

std::string RawPeer::readToEnd() {
  std::string all;
  for (;;) {
    const std::string some = readSome();
    if (some.empty()) return all;
    all += some;
  }
}

}  // namespace vms
