#include "runner/api/http_channel.h"

#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <utility>

#include "schema/base/log.h"

namespace vms::runner::api {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;

constexpr std::size_t kReadBytes = 8192;
constexpr std::size_t kWriteBytes = 256u << 10;
constexpr std::size_t kDiscard = 1u << 20;
constexpr Duration kLinger = milliseconds(500);  ///< Without a byte.
constexpr Duration kLingerMax = seconds(3);
constexpr Duration kGoodbye = seconds(1);

}  // namespace

std::string addressOf(const tcp::endpoint& endpoint) {
  const std::string host = endpoint.address().to_string();
  return (endpoint.address().is_v6() ? "[" + host + "]" : host) + ":" +
         std::to_string(endpoint.port());
}

HttpChannel::HttpChannel(std::shared_ptr<HttpShared> shared,
                         std::shared_ptr<asio::ssl::context> tls, tcp::socket socket)
    : shared_(std::move(shared)),
      tls_(std::move(tls)),
      executor_(socket.get_executor()),
      stream_(boost::beast::tcp_stream(std::move(socket)), *tls_),
      linger_(executor_),
      read_limit_(executor_) {}

asio::awaitable<bool> HttpChannel::open(Duration limit) {
  error_code ec;
  const tcp::endpoint endpoint = lowest().socket().remote_endpoint(ec);
  if (ec) co_return false;
  peer_ = addressOf(endpoint);
  lowest().expires_after(limit);
  co_await stream_.async_handshake(asio::ssl::stream_base::server,
                                   asio::redirect_error(asio::use_awaitable, ec));
  if (!ec) co_return true;
  ++shared_->tls_failures;
  log::debug("http: TLS with {} failed: {}", peer_, ec.message());
  close();
  co_return false;
}

asio::awaitable<bool> HttpChannel::awaitRequest(Duration limit) {
  if (buffer_.size() > 0) co_return true;
  error_code ec;
  lowest().expires_after(limit);
  const std::size_t size = co_await stream_.async_read_some(
      buffer_.prepare(kReadBytes), asio::redirect_error(asio::use_awaitable, ec));
  if (ec) co_return false;
  buffer_.commit(size);
  co_return true;
}

void HttpChannel::limitReading(Duration limit) {
  lowest().expires_never();
  reading_ = ++reads_;
  timed_out_ = false;
  read_limit_.expires_after(limit);
  read_limit_.async_wait([self = shared_from_this(), number = reads_](error_code cancelled) {
    if (cancelled || self->reading_ != number) return;
    self->timed_out_ = true;
    self->lowest().cancel();
  });
}

error_code HttpChannel::readingIsOver(error_code ec) {
  reading_ = 0;
  read_limit_.cancel();
  return ec && timed_out_ ? error_code(asio::error::timed_out) : ec;
}

asio::awaitable<error_code> HttpChannel::readHead(HttpParser& parser, Duration limit) {
  error_code ec;
  limitReading(limit);
  co_await http::async_read_header(stream_, buffer_, parser,
                                   asio::redirect_error(asio::use_awaitable, ec));
  co_return readingIsOver(ec);
}

asio::awaitable<error_code> HttpChannel::readBody(HttpParser& parser, Duration limit) {
  error_code ec;
  limitReading(limit);
  co_await http::async_read(stream_, buffer_, parser,
                            asio::redirect_error(asio::use_awaitable, ec));
  co_return readingIsOver(ec);
}

asio::awaitable<bool> HttpChannel::write(std::string bytes) {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    const std::size_t size = std::min(kWriteBytes, bytes.size() - sent);
    error_code ec;
    lowest().expires_after(shared_->options.write_timeout);
    co_await asio::async_write(stream_, asio::buffer(bytes.data() + sent, size),
                               asio::redirect_error(asio::use_awaitable, ec));
    if (ec) co_return false;
    sent += size;
    shared_->sent_bytes += size;
  }
  lowest().expires_never();
  co_return true;
}

asio::awaitable<void> HttpChannel::discardInput() {
  std::size_t left = std::max(kDiscard, shared_->options.body_bytes * 2);
  linger_.expires_after(kLingerMax);
  linger_.async_wait([self = shared_from_this()](error_code cancelled) {
    if (!cancelled) self->close();
  });
  error_code ec;
  while (left > 0 && !ec && !shared_->stopping) {
    buffer_.clear();
    lowest().expires_after(kLinger);
    const std::size_t size = co_await stream_.async_read_some(
        buffer_.prepare(kReadBytes), asio::redirect_error(asio::use_awaitable, ec));
    left -= std::min(left, size);
  }
  linger_.cancel();
}

asio::awaitable<void> HttpChannel::shutDown() {
  error_code ec;
  lowest().expires_after(kGoodbye);
  co_await stream_.async_shutdown(asio::redirect_error(asio::use_awaitable, ec));
  close();
}

}  // namespace vms::runner::api
