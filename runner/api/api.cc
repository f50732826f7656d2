#include "runner/api/api.h"

#include <utility>

#include "runner/api/auth.h"
#include "runner/api/dispatch.h"
#include "runner/api/wrong_tokens.h"

namespace vms::runner::api {

struct Api::Impl {
  Impl(Service& service, const Clock& clock, asio::any_io_executor engine, asio::any_io_executor io,
       ApiOptions options)
      : context{service,           clock,
                std::move(engine), authenticator,
                options.keepalive, std::move(options.metrics),
                counters,          options.token_check,
                &wrong_tokens},
        server(std::move(io), std::move(options.http), dispatchHandlers(&context)) {}

  Authenticator authenticator;
  WrongTokens wrong_tokens;
  RequestCounters counters;
  ApiContext context;
  HttpServer server;
};

Api::Api(Service& service, const Clock& clock, asio::any_io_executor engine,
         asio::any_io_executor io, ApiOptions options)
    : impl_(std::make_unique<Impl>(service, clock, std::move(engine), std::move(io),
                                   std::move(options))) {}
Api::~Api() = default;

Result<void> Api::start() { return impl_->server.start(); }
asio::awaitable<void> Api::stop() { return impl_->server.stop(); }
std::string Api::boundAddress() const { return impl_->server.boundAddress(); }
std::uint16_t Api::boundPort() const { return impl_->server.boundPort(); }
Result<void> Api::reloadCertificate() { return impl_->server.reloadCertificate(); }
HttpFigures Api::figures() const {
  HttpFigures figures = impl_->counters.figures();
  figures.traffic = impl_->server.figures();
  return figures;
}

}  // namespace vms::runner::api
