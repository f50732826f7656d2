#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <memory>

#include "runner/api/http_shared.h"

/// One connection of the HTTP server; internal to it.
namespace vms::runner::api {

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

}  // namespace vms::runner::api
