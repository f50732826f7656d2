#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "runner/api/http_shared.h"
#include "schema/base/time.h"

namespace vms::runner::api {

using HttpParser = boost::beast::http::request_parser<boost::beast::http::string_body>;

/// "127.0.0.1:8443", "[::1]:8443".
std::string addressOf(const asio::ip::tcp::endpoint& endpoint);

/// The bytes of one HTTP connection: TLS, with a bound of time on everything; internal to the
/// server. On the connection's strand, one call at a time, except `close`, which ends what waits.
class HttpChannel : public std::enable_shared_from_this<HttpChannel> {
 public:
  HttpChannel(std::shared_ptr<HttpShared> shared, std::shared_ptr<asio::ssl::context> tls,
              asio::ip::tcp::socket socket);

  const asio::any_io_executor& executor() const { return executor_; }
  /// "ADDRESS:PORT" of the client, after `open`.
  const std::string& peer() const { return peer_; }

  /// Shakes hands. False: there is nobody to talk to.
  asio::awaitable<bool> open(Duration limit);
  /// Waits for the begin of a request, unless it has come already. False: the connection is over.
  asio::awaitable<bool> awaitRequest(Duration limit);
  /// These cancel what is being read when `limit` is over, with `asio::error::timed_out`; unlike
  /// other limits theirs leaves the connection usable, so that the client can be told.
  asio::awaitable<boost::system::error_code> readHead(HttpParser& parser, Duration limit);
  asio::awaitable<boost::system::error_code> readBody(HttpParser& parser, Duration limit);
  /// False: the client is gone or does not read.
  asio::awaitable<bool> write(std::string bytes);
  /// Reads what the client still sends, so that the response is not lost to a reset; bounded.
  asio::awaitable<void> discardInput();
  /// Says goodbye and closes.
  asio::awaitable<void> shutDown();
  void close() { lowest().close(); }

 private:
  using Stream = boost::beast::ssl_stream<boost::beast::tcp_stream>;

  boost::beast::tcp_stream& lowest() { return boost::beast::get_lowest_layer(stream_); }
  void limitReading(Duration limit);
  boost::system::error_code readingIsOver(boost::system::error_code ec);

  const std::shared_ptr<HttpShared> shared_;
  const std::shared_ptr<asio::ssl::context> tls_;
  const asio::any_io_executor executor_;
  Stream stream_;
  asio::steady_timer linger_;
  asio::steady_timer read_limit_;
  boost::beast::flat_buffer buffer_;
  std::string peer_;
  std::uint64_t reads_ = 0;    ///< Begun under read_limit_.
  std::uint64_t reading_ = 0;  ///< The one under way; 0: none.
  bool timed_out_ = false;     ///< It was over.
};

}  // namespace vms::runner::api
