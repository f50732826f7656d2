#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "schema/base/error.h"
#include "schema/base/time.h"

/// HTTP/1.1 over TLS, apart from what is served.
namespace vms::runner::api {

namespace asio = boost::asio;

struct HttpRequest {
  std::string method;
  std::string target;                             ///< As it came, for logs and `instance`.
  std::vector<std::string> segments;              ///< Of the path, percent-decoded.
  std::multimap<std::string, std::string> query;  ///< Percent-decoded.
  std::map<std::string, std::string> headers;     ///< Lower-case names; repeated ones are joined.
  std::string body;                               ///< Empty while being admitted.
  bool has_body = false;                          ///< A body follows the head.
  std::string peer;                               ///< "ADDRESS:PORT".
  std::shared_ptr<const void> context;            ///< What `admit` decided.
};

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

/// Content-Length, Transfer-Encoding and Connection are the server's business.
struct HttpResponse {
  int status = 200;
  HttpHeaders headers;
  std::string body;

  HttpResponse() = default;
  HttpResponse(int status_in, HttpHeaders headers_in, std::string body_in)
      : status(status_in), headers(std::move(headers_in)), body(std::move(body_in)) {}
};

/// The body of a response whose length is not known at its start. Used by the coroutine that
/// produces it, one write at a time.
class ResponseStream {
 public:
  virtual ~ResponseStream() = default;
  /// Returns once `data` was handed to the network. Unavailable: the client is gone or does not
  /// read; end the production.
  virtual asio::awaitable<Result<void>> write(std::string data) = 0;
};

struct HttpStream {
  int status = 200;
  HttpHeaders headers;
  /// Called once, after the headers left; not for HEAD. Cancelled (operation_aborted) at shutdown.
  /// Unless it succeeds the connection ends without the end of the body, so that the client knows.
  std::function<asio::awaitable<Result<void>>(ResponseStream&)> produce;
};

using HttpReply = std::variant<HttpResponse, HttpStream>;

/// What is decided from the head of a request: a refusal, before the body is read, or a context
/// for the handler.
struct Admission {
  std::optional<HttpResponse> refusal;
  std::shared_ptr<const void> context;
  std::string token;  ///< Names the token that the request carried; empty: none that counts.
};

/// Both run on the connection's strand of the I/O executor, at most one at a time per connection,
/// many at a time over all. No exception but operation_aborted may leave them.
struct HttpHandlers {
  std::function<asio::awaitable<Admission>(HttpRequest)> admit;  ///< May be empty.
  std::function<asio::awaitable<HttpReply>(HttpRequest)> handle;
  /// The response for a failure that the server finds itself (400, 408, 413, 417, 429, 431, 503).
  std::function<HttpResponse(int status, std::string detail)> problem;
};

struct HttpServerOptions {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;        ///< 0: any free one; see `boundPort`.
  std::string certificate_file;  ///< PEM, with its chain.
  std::string key_file;          ///< PEM.
  std::size_t header_bytes = 16u << 10;
  std::size_t body_bytes = 16u << 20;
  /// Of all bodies that are being read or handled; beyond it, 503.
  std::size_t all_bodies_bytes = 256u << 20;
  std::size_t token_bodies_bytes = 64u << 20;  ///< Of those of one token; beyond it, 429.
  /// Beyond it a new one takes the place of the oldest that waits without ever having shown a token
  /// that counts; where there is none, 503.
  std::size_t connections = 2'000;
  /// Of those whose newest request carried the same token; beyond it, 429.
  std::size_t token_connections = 500;
  Duration handshake_timeout = seconds(10);
  Duration header_timeout = seconds(10);  ///< From the first byte of a request to its last header.
  Duration body_timeout = seconds(60);
  Duration idle_timeout = seconds(75);   ///< Between requests.
  Duration write_timeout = seconds(30);  ///< For one response, or one piece of a stream.
  Duration stop_grace = seconds(2);      ///< For requests under way when the server stops.
};

/// What the server did since its start, apart from what was asked.
struct HttpTrafficFigures {
  std::size_t connections = 0;  ///< Open now.
  std::uint64_t accepted = 0, refused = 0, evicted = 0, tls_failures = 0;
  std::uint64_t received_body_bytes = 0, sent_bytes = 0;  ///< Before TLS.
};

/// Owned by the composition root; `start`, `stop` and `reloadCertificate` from any thread.
class HttpServer {
 public:
  /// `io` may be a pool of threads; every connection gets a strand of its own.
  HttpServer(asio::any_io_executor io, HttpServerOptions options, HttpHandlers handlers);
  /// After `stop`, or together with its executor.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Loads the certificate, binds and accepts. Invalid: a file or an address is wrong. Unavailable:
  /// the port is taken.
  Result<void> start();

  /// The address and port that are listened on; after a successful `start`.
  std::string boundAddress() const;
  std::uint16_t boundPort() const;

  /// New connections use what the files hold now; on failure everything stays as it was.
  Result<void> reloadCertificate();

  /// Stops accepting, ends idle connections and streams now and others when their response has
  /// left, at the latest `stop_grace` later. Returns when no connection is left.
  asio::awaitable<void> stop();

  std::size_t connections() const;
  /// From any thread.
  HttpTrafficFigures figures() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace vms::runner::api
