#include "runner/api/http_server.h"

#include <fcntl.h>

#include <atomic>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <map>
#include <mutex>
#include <set>

#include "runner/api/http_channel.h"
#include "runner/api/http_session.h"
#include "schema/base/check.h"
#include "schema/base/log.h"
#include "schema/base/task_group.h"

namespace vms::runner::api {
namespace {

namespace ssl = asio::ssl;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using Strand = asio::strand<asio::any_io_executor>;

/// Connections beyond the limit that are told so at the same time; more are closed at once.
constexpr std::size_t kRefusals = 64;

/// A program that we start must not hold our port or our clients' connections.
void keepFromChildren(int fd) { ::fcntl(fd, F_SETFD, FD_CLOEXEC); }

Result<std::shared_ptr<ssl::context>> loadTls(const HttpServerOptions& options) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  error_code ec;
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context->native_handle(), SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(context->native_handle(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  context->use_certificate_chain_file(options.certificate_file, ec);
  if (ec) {
    return Error(ErrorClass::Invalid, "certificate file '" + options.certificate_file +
                                          "' cannot be used: " + ec.message() +
                                          "; give a readable PEM file with the server's chain");
  }
  context->use_private_key_file(options.key_file, ssl::context::pem, ec);
  if (ec) {
    return Error(ErrorClass::Invalid,
                 "key file '" + options.key_file + "' cannot be used: " + ec.message() +
                     "; give the readable PEM key of '" + options.certificate_file + "'");
  }
  return context;
}

}  // namespace

/// The listener and the set of connections; on `strand`, unless a member says otherwise.
struct HttpServer::Impl : std::enable_shared_from_this<HttpServer::Impl> {
  Impl(asio::any_io_executor io_in, HttpServerOptions options, HttpHandlers handlers)
      : shared(std::make_shared<HttpShared>(std::move(options), std::move(handlers))),
        io(std::move(io_in)),
        strand(asio::make_strand(io)),
        acceptor(strand),
        tasks(asio::any_io_executor(strand)),
        drained(asio::any_io_executor(strand)) {}

  Result<void> start() {
    const HttpServerOptions& options = shared->options;
    if (Result<void> loaded = reload(); !loaded) return loaded;
    error_code ec;
    const auto address = asio::ip::make_address(options.address, ec);
    if (ec) {
      return Error(ErrorClass::Invalid,
                   "listen address '" + options.address + "' is not an IP address");
    }
    const tcp::endpoint wanted(address, options.port);
    acceptor.open(wanted.protocol(), ec);
    if (!ec) keepFromChildren(acceptor.native_handle());
    if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) acceptor.bind(wanted, ec);
    if (!ec) acceptor.listen(1024, ec);
    if (ec) {
      error_code ignored;
      acceptor.close(ignored);
      return Error(ErrorClass::Unavailable, "cannot listen on " + addressOf(wanted) + ": " +
                                                ec.message() +
                                                "; choose another address or port, or end the "
                                                "process that has it");
    }
    bound = acceptor.local_endpoint(ec);
    asio::post(strand, [self = shared_from_this()]() {
      self->tasks.spawn("http listener", [self]() { return self->accept(); });
    });
    return {};
  }

  Result<void> reload() {
    auto loaded = loadTls(shared->options);
    if (!loaded) return loaded.error();
    const std::lock_guard lock(tls_mutex);
    tls = std::move(*loaded);
    return {};
  }

  asio::awaitable<void> accept() {
    while (!shared->stopping) {
      error_code ec;
      const asio::any_io_executor own = asio::make_strand(io);
      tcp::socket socket =
          co_await acceptor.async_accept(own, asio::redirect_error(asio::use_awaitable, ec));
      if (ec == asio::error::operation_aborted || shared->stopping) co_return;
      if (ec) {
        log::warn("http: cannot accept a connection: {}", ec.message());
        // Out of descriptors, mostly: give connections time to end.
        asio::steady_timer pause(co_await asio::this_coro::executor, milliseconds(100));
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ec));
        continue;
      }
      admit(std::move(socket));
    }
  }

  /// The oldest that may go gives way; false when there is none, or too many are going already.
  bool evictOne() {
    if (leaving.size() >= kRefusals) return false;
    for (const auto& [number, session] : sessions) {
      if (!session->evict()) continue;
      leaving.insert(number);
      ++shared->evicted;
      return true;
    }
    return false;
  }

  void admit(tcp::socket socket) {
    const std::size_t limit = shared->options.connections;
    ++shared->accepted;
    const std::size_t taken = sessions.size() - leaving.size();
    const bool refuse = taken >= limit && !evictOne();
    if (refuse) ++shared->refused;
    if (refuse && taken >= limit + kRefusals) return;
    error_code ignored;
    keepFromChildren(socket.native_handle());
    socket.set_option(tcp::no_delay(true), ignored);
    std::shared_ptr<ssl::context> context;
    {
      const std::lock_guard lock(tls_mutex);
      context = tls;
    }
    const std::uint64_t number = next_session++;
    auto session = makeHttpSession(shared, std::move(context), std::move(socket), refuse);
    sessions.emplace(number, session);
    count = sessions.size();
    tasks.spawn("http session", [self = shared_from_this(), session, number]() {
      return self->serve(session, number);
    });
  }

  asio::awaitable<void> serve(std::shared_ptr<HttpSession> session, std::uint64_t number) {
    auto work = [session]() { return session->serve(); };
    // Cancelling across executors is done by Session::abort, never by the slot.
    co_await asio::co_spawn(
        session->executor(), std::move(work),
        asio::bind_cancellation_slot(asio::cancellation_slot(), asio::use_awaitable));
    sessions.erase(number);
    leaving.erase(number);
    count = sessions.size();
    if (sessions.empty()) drained.cancel();
  }

  asio::awaitable<void> stop() {
    shared->stopping = true;
    error_code ec;
    acceptor.close(ec);
    for (const auto& [number, session] : sessions) session->askToEnd();
    if (!sessions.empty()) {
      drained.expires_after(shared->options.stop_grace);
      co_await drained.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    }
    for (const auto& [number, session] : sessions) session->abort();
    tasks.cancel();
    co_await tasks.join();
  }

  const std::shared_ptr<HttpShared> shared;
  const asio::any_io_executor io;
  const Strand strand;
  tcp::acceptor acceptor;
  TaskGroup tasks;
  asio::steady_timer drained;
  std::map<std::uint64_t, std::shared_ptr<HttpSession>> sessions;
  std::set<std::uint64_t> leaving;  ///< Of those, the evicted.
  std::uint64_t next_session = 1;
  std::atomic<std::size_t> count{0};
  tcp::endpoint bound;  ///< Written once, by start().
  std::mutex tls_mutex;
  std::shared_ptr<ssl::context> tls;
};

HttpServer::HttpServer(asio::any_io_executor io, HttpServerOptions options, HttpHandlers handlers)
    : impl_(std::make_shared<Impl>(std::move(io), std::move(options), std::move(handlers))) {
  VMS_CHECK(impl_->shared->handlers.handle && impl_->shared->handlers.problem,
            "an HTTP server needs handlers");
}
HttpServer::~HttpServer() = default;

Result<void> HttpServer::start() { return impl_->start(); }
std::string HttpServer::boundAddress() const { return addressOf(impl_->bound); }
std::uint16_t HttpServer::boundPort() const { return impl_->bound.port(); }
Result<void> HttpServer::reloadCertificate() { return impl_->reload(); }
std::size_t HttpServer::connections() const { return impl_->count; }

HttpTrafficFigures HttpServer::figures() const {
  const HttpShared& shared = *impl_->shared;
  HttpTrafficFigures figures;
  figures.connections = impl_->count;
  figures.accepted = shared.accepted;
  figures.refused = shared.refused;
  figures.evicted = shared.evicted;
  figures.tls_failures = shared.tls_failures;
  figures.received_body_bytes = shared.received_body_bytes;
  figures.sent_bytes = shared.sent_bytes;
  return figures;
}

asio::awaitable<void> HttpServer::stop() {
  auto work = [impl = impl_]() { return impl->stop(); };
  co_await asio::co_spawn(
      impl_->strand, std::move(work),
      asio::bind_cancellation_slot(asio::cancellation_slot(), asio::use_awaitable));
}

}  // namespace vms::runner::api
