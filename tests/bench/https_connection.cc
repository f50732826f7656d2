#include "tests/bench/https_connection.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <utility>

#include "schema/base/files.h"
#include "schema/base/net_address.h"
#include "schema/base/unique_fd.h"

namespace vms::bench {
namespace {

constexpr std::size_t kMostHead = 64u << 10;
constexpr std::size_t kMostBody = 64u << 20;

struct FreeSsl {
  void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
};

Error broken(const std::string& what) {
  return Error(ErrorClass::Unavailable,
               "the connection to the engine's API broke: " + what + "; see the engine's log");
}

std::string tlsWords() {
  const unsigned long code = ERR_peek_error();
  return code == 0 ? "closed or silent" : explainTlsError(code).text;
}

}  // namespace

struct HttpsConnection::Impl {
  UniqueFd socket;
  std::unique_ptr<SSL, FreeSsl> ssl;
  std::string host;
  std::string token;
  std::string buffer;  ///< Read and not used yet.

  Result<void> write(std::string_view text);
  Result<void> readMore();
};

Result<void> HttpsConnection::Impl::write(std::string_view text) {
  while (!text.empty()) {
    ERR_clear_error();
    std::size_t written = 0;
    if (SSL_write_ex(ssl.get(), text.data(), text.size(), &written) != 1) return broken(tlsWords());
    text.remove_prefix(written);
  }
  return boost::system::in_place_value;
}

Result<void> HttpsConnection::Impl::readMore() {
  std::array<char, 16384> block;
  std::size_t got = 0;
  ERR_clear_error();
  if (SSL_read_ex(ssl.get(), block.data(), block.size(), &got) != 1) return broken(tlsWords());
  buffer.append(block.data(), got);
  return boost::system::in_place_value;
}

HttpsConnection::HttpsConnection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpsConnection::HttpsConnection(HttpsConnection&&) noexcept = default;
HttpsConnection& HttpsConnection::operator=(HttpsConnection&&) noexcept = default;
HttpsConnection::~HttpsConnection() = default;

Result<HttpsConnection> HttpsConnection::open(const TlsContext& tls, const std::string& address,
                                              std::string token) {
  const Result<NetAddress> parsed = parseNetAddress(address);
  if (!parsed) return parsed.error();
  auto impl = std::make_unique<Impl>();
  impl->host = address;
  impl->token = std::move(token);
  impl->socket.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int fd = impl->socket.get();
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(parsed->port);
  if (::inet_pton(AF_INET, parsed->host.c_str(), &to.sin_addr) != 1) {
    return Error(ErrorClass::Invalid, "'" + address + "' holds no IPv4 address");
  }
  const int on = 1;
  const timeval limit{60, 0};
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    return errnoError(errno, "connecting to the engine's API at " + address);
  }
  impl->ssl.reset(SSL_new(tls.get()));
  if (auto named = expectServerName(impl->ssl.get(), parsed->host); !named) return named.error();
  SSL_set_fd(impl->ssl.get(), fd);
  ERR_clear_error();
  if (SSL_connect(impl->ssl.get()) != 1) return broken(tlsWords());
  return HttpsConnection(std::move(impl));
}

Result<HttpsAnswer> HttpsConnection::call(std::string_view method, std::string_view target,
                                          std::string_view body, std::string_view content_type) {
  Impl& impl = *impl_;
  std::string text;
  text.append(method).append(" ").append(target).append(" HTTP/1.1\r\nHost: ").append(impl.host);
  text.append("\r\nAuthorization: Bearer ").append(impl.token);
  if (!body.empty()) {
    text.append("\r\nContent-Type: ").append(content_type);
    text.append("\r\nContent-Length: ").append(std::to_string(body.size()));
  }
  text.append("\r\n\r\n").append(body);
  if (auto written = impl.write(text); !written) return written.error();

  std::size_t head = 0;
  while ((head = impl.buffer.find("\r\n\r\n")) == std::string::npos) {
    if (impl.buffer.size() > kMostHead) return broken("an answer without an end of its head");
    if (auto more = impl.readMore(); !more) return more.error();
  }
  HttpsAnswer answer;
  const std::string_view fields = std::string_view(impl.buffer).substr(0, head + 2);
  constexpr std::string_view kVersion = "HTTP/1.1 ";
  constexpr std::string_view kLength = "\r\nContent-Length: ";
  const std::size_t length_at = fields.find(kLength);
  if (!fields.starts_with(kVersion) || length_at == std::string_view::npos) {
    return broken("an answer without a length");
  }
  const char* const end = fields.data() + fields.size();
  std::from_chars(fields.data() + kVersion.size(), end, answer.status);
  std::size_t length = 0;
  std::from_chars(fields.data() + length_at + kLength.size(), end, length);
  if (length > kMostBody) return broken("an answer of " + std::to_string(length) + " bytes");
  const std::size_t begin = head + 4;
  while (impl.buffer.size() < begin + length) {
    if (auto more = impl.readMore(); !more) return more.error();
  }
  answer.body = impl.buffer.substr(begin, length);
  impl.buffer.erase(0, begin + length);
  return answer;
}

}  // namespace vms::bench
