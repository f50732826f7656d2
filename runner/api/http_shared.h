#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "runner/api/http_server.h"
#include "runner/api/token_shares.h"

namespace vms::runner::api {

/// What all connections of the HTTP server share; internal to it. From any thread.
struct HttpShared {
  HttpShared(HttpServerOptions options_in, HttpHandlers handlers_in)
      : options(std::move(options_in)), handlers(std::move(handlers_in)) {}

  const HttpServerOptions options;
  const HttpHandlers handlers;
  std::atomic<std::size_t> bodies_bytes{0};
  TokenShares token_connections{options.token_connections};
  TokenShares token_bodies_bytes{options.token_bodies_bytes};
  std::atomic<bool> stopping{false};

  // Only counted, see HttpTrafficFigures.
  std::atomic<std::uint64_t> accepted{0}, refused{0}, evicted{0}, tls_failures{0};
  std::atomic<std::uint64_t> received_body_bytes{0}, sent_bytes{0};
};

}  // namespace vms::runner::api
