#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "runner/api/http_figures.h"
#include "runner/api/http_server.h"
#include "runner/service.h"
#include "schema/base/clock.h"
#include "schema/base/error.h"

namespace vms::runner::api {

struct ApiOptions {
  HttpServerOptions http;
  /// Between two signs of life on a quiet event stream.
  Duration keepalive = seconds(15);
  /// The text of GET /metrics; empty: not served. Called on the I/O executor, from any thread.
  std::function<std::string(const EngineFigures&)> metrics;
  /// How long a stream may go on, at most, after its token was revoked or has expired.
  Duration token_check = seconds(5);
};

/// The HTTP API of the engine (schema/openapi.yaml): the routes, and the server that carries them.
///
/// Parsing and printing happen on the I/O executor; every call of `service` is made on the
/// engine's.
class Api {
 public:
  /// `service` and `clock` outlive it; `clock` is read from the I/O executor's threads. `io` may be
  /// a pool of threads.
  Api(Service& service, const Clock& clock, asio::any_io_executor engine, asio::any_io_executor io,
      ApiOptions options);
  /// After `stop`, or together with both executors.
  ~Api();
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  /// Invalid: certificate, key or address; Unavailable: the port is taken.
  Result<void> start();
  /// Ends within three seconds while the engine's executor runs. From either executor; idempotent.
  asio::awaitable<void> stop();

  std::string boundAddress() const;
  std::uint16_t boundPort() const;
  Result<void> reloadCertificate();

  /// What was counted since the start. From any thread.
  HttpFigures figures() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vms::runner::api
