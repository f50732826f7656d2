#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "runner/api/http_server.h"

/// One connection of the HTTP server; internal to it.
namespace vms::runner::api {

/// What all connections share.
struct HttpShared {
  HttpShared(HttpServerOptions options_in, HttpHandlers handlers_in)
      : options(std::move(options_in)), handlers(std::move(handlers_in)) {}

  const HttpServerOptions options;
  const HttpHandlers handlers;
  std::atomic<std::size_t> bodies_bytes{0};
  std::atomic<bool> stopping{false};

  // Only counted, see HttpTrafficFigures.
  std::atomic<std::uint64_t> accepted{0}, refused{0}, evicted{0}, tls_failures{0};
  std::atomic<std::uint64_t> received_body_bytes{0}, sent_bytes{0};
};

/// One connection.
class HttpSession {
 public:
  virtual ~HttpSession() = default;

  /// The connection's strand.
  virtual asio::any_io_executor executor() const = 0;
  /// Serves until the connection ends. On the strand, once.
  virtual asio::awaitable<void> serve() = 0;
  /// Ends an idle connection or a stream now, another one after its response. From any thread.
  virtual void askToEnd() = 0;
  /// Ends it now. From any thread.
  virtual void abort() = 0;
  /// Ends it now if it waits for a request and none before had a token that counts; else false.
  /// From any thread.
  virtual bool evict() = 0;
};

/// `refuse`: answers 503 to its first request and ends.
std::shared_ptr<HttpSession> makeHttpSession(std::shared_ptr<HttpShared> shared,
                                             std::shared_ptr<asio::ssl::context> tls,
                                             asio::ip::tcp::socket socket, bool refuse);

/// "127.0.0.1:8443", "[::1]:8443".
std::string addressOf(const asio::ip::tcp::endpoint& endpoint);

}  // namespace vms::runner::api
