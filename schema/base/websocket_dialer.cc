#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <chrono>
#include <mutex>
#include <utility>
#include <vector>

#include "schema/base/log.h"
#include "schema/base/net_address.h"
#include "schema/base/owner_signal.h"
#include "schema/base/pipe_connection.h"
#include "schema/base/websocket_transport.h"
#include "schema/base/websocket_wire.h"

namespace vms {
namespace {

using asio::ip::tcp;
using boost::system::error_code;
using PoolResolver = asio::ip::basic_resolver<tcp, PoolExecutor>;
using PoolTimer =
    asio::basic_waitable_timer<std::chrono::steady_clock,
                               asio::wait_traits<std::chrono::steady_clock>, PoolExecutor>;

/// The certificates of the last connect() at which they could be used. From any thread.
class UsableTls {
 public:
  /// What the files hold now or, if that cannot be used, what they held before.
  Result<TlsContext> read(const TlsFiles& files) {
    auto fresh = makeClientTls(files);
    const std::lock_guard lock(mutex_);
    if (fresh) {
      last_ = *fresh;
      return fresh;
    }
    if (!last_) return fresh;
    log::warn("{}; dialing with the certificates read before", fresh.error().message);
    return last_;
  }

 private:
  std::mutex mutex_;
  TlsContext last_;
};

using ResultQueue = OwnerQueue<Result<OpenedWire>>;

/// One connect(), on a strand of the pool, kept by what it waits for. Its one result goes to the
/// queue; a connection that nobody waits for any more is closed.
class Attempt : public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(asio::io_context& pool, DialOptions options, std::shared_ptr<UsableTls> certificates,
          std::shared_ptr<ResultQueue> result)
      : strand_(asio::make_strand(pool)),
        options_(std::move(options)),
        certificates_(std::move(certificates)),
        result_(std::move(result)),
        resolver_(strand_),
        socket_(strand_),
        deadline_(strand_) {}

  // From any thread.
  void start() {
    asio::post(strand_, [self = shared_from_this()] { self->begin(); });
  }
  void giveUp() {
    asio::post(strand_, [self = shared_from_this()] {
      self->fail(ErrorClass::Unavailable, "given up by us");
    });
  }

 private:
  std::string engine() const { return "engine at " + options_.address; }

  void begin() {
    deadline_.expires_after(
        std::chrono::duration_cast<std::chrono::steady_clock::duration>(options_.connect_timeout));
    deadline_.async_wait([self = shared_from_this()](const error_code& error) {
      if (error) return;
      self->fail(ErrorClass::Unavailable,
                 "cannot reach " + self->engine() + ": no answer within " +
                     formatDuration(self->options_.connect_timeout) +
                     "; check the address, the network and the engine's load");
    });
    auto address = parseNetAddress(options_.address);
    if (!address) return fail(address.error());
    auto tls = certificates_->read(options_.tls);
    if (!tls) return fail(tls.error());
    tls_ = std::move(*tls);
    server_name_ = options_.server_name.empty() ? address->host : options_.server_name;

    error_code is_name;
    const auto literal = asio::ip::make_address(address->host, is_name);
    if (!is_name) return connect({tcp::endpoint(literal, address->port)});
    resolver_.async_resolve(
        address->host, std::to_string(address->port),
        [self = shared_from_this()](const error_code& error, const tcp::resolver::results_type& r) {
          if (self->finished_) return;
          if (error) {
            return self->fail(
                ErrorClass::Unavailable,
                "cannot reach " + self->engine() + ": cannot resolve its name: " + error.message());
          }
          self->connect({r.begin(), r.end()});
        });
  }

  void connect(std::vector<tcp::endpoint> endpoints) {
    endpoints_ = std::move(endpoints);
    asio::async_connect(socket_, endpoints_,
                        [self = shared_from_this()](const error_code& error, const tcp::endpoint&) {
                          if (self->finished_) return;
                          if (error) return self->failToConnect(error);
                          self->shakeHands();
                        });
  }

  void failToConnect(const error_code& error) {
    const char* const next_step = error == asio::error::connection_refused
                                      ? "; is vmsrunnerd running?"
                                      : "; check the address and the network";
    fail(ErrorClass::Unavailable,
         "cannot reach " + engine() + ": " + lowerFirst(error.message()) + next_step);
  }

  static std::string lowerFirst(std::string text) {
    if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') {
      text[0] = static_cast<char>(text[0] - 'A' + 'a');
    }
    return text;
  }

  void shakeHands() {
    WireOptions options;
    options.tls = tls_;
    options.limits = options_.limits;
    options.handshake_timeout = options_.connect_timeout;
    options.dead_after = options_.dead_after;
    options.compress_from_bytes = options_.compress_from_bytes;
    options.peer_address = options_.address;
    options.done = [self = shared_from_this()](Result<OpenedWire> result) {
      asio::post(self->strand_,
                 [self, result = std::move(result)]() mutable { self->finish(std::move(result)); });
    };
    wire_ = startClientWire(std::move(socket_), std::move(options), server_name_,
                            options_.tls.certificate.string());
  }

  void fail(ErrorClass error_class, std::string message) {
    fail(Error(error_class, std::move(message)));
  }
  void fail(Error error) {
    if (finished_) return;
    finish(std::move(error));
    error_code ignored;
    resolver_.cancel();
    socket_.close(ignored);
    if (const auto wire = wire_.lock()) wire->abortHandshake();
  }

  void finish(Result<OpenedWire> result) {
    const std::shared_ptr<MessagePipe> pipe = result ? result->pipe : nullptr;
    const bool wanted = !std::exchange(finished_, true);
    deadline_.cancel();
    const bool taken = wanted && result_->push(std::move(result));
    if (!taken && pipe) pipe->closeByOwner();
  }

  const PoolExecutor strand_;
  const DialOptions options_;
  const std::shared_ptr<UsableTls> certificates_;
  const std::shared_ptr<ResultQueue> result_;
  PoolResolver resolver_;
  asio::basic_stream_socket<tcp, PoolExecutor> socket_;
  PoolTimer deadline_;
  std::vector<tcp::endpoint> endpoints_;
  TlsContext tls_;
  std::string server_name_;
  std::weak_ptr<Wire> wire_;
  bool finished_ = false;
};

/// Ends an attempt whose coroutine was cancelled or destroyed.
class AttemptGuard {
 public:
  AttemptGuard(std::weak_ptr<Attempt> attempt, std::shared_ptr<ResultQueue> result)
      : attempt_(std::move(attempt)), result_(std::move(result)) {}
  ~AttemptGuard() {
    for (Result<OpenedWire>& late : result_->close()) {
      if (late) late->pipe->closeByOwner();
    }
    if (const auto attempt = attempt_.lock()) attempt->giveUp();
  }
  AttemptGuard(const AttemptGuard&) = delete;
  AttemptGuard& operator=(const AttemptGuard&) = delete;

 private:
  std::weak_ptr<Attempt> attempt_;
  std::shared_ptr<ResultQueue> result_;
};

asio::awaitable<Result<std::unique_ptr<Connection>>> dial(asio::any_io_executor owner,
                                                          asio::io_context* pool,
                                                          DialOptions options,
                                                          std::shared_ptr<UsableTls> tls) {
  OwnerSignal signal(owner);
  const auto result = std::make_shared<ResultQueue>(signal.remote());
  std::weak_ptr<Attempt> attempt;
  {
    const auto started =
        std::make_shared<Attempt>(*pool, std::move(options), std::move(tls), result);
    started->start();
    attempt = started;
  }
  const AttemptGuard guard(attempt, result);
  for (;;) {
    std::optional<Result<OpenedWire>> opened = result->tryPop();
    if (opened) {
      if (!*opened) co_return opened->error();
      co_return connectionOf(owner, std::move(**opened));
    }
    co_await signal.wait();
  }
}

class WebSocketDialer final : public Dialer {
 public:
  WebSocketDialer(asio::any_io_executor owner, asio::io_context& pool, DialOptions options)
      : owner_(std::move(owner)), pool_(pool), options_(std::move(options)) {}

  asio::awaitable<Result<std::unique_ptr<Connection>>> connect() override {
    return dial(owner_, &pool_, options_, certificates_);
  }

 private:
  const asio::any_io_executor owner_;
  asio::io_context& pool_;
  const DialOptions options_;
  const std::shared_ptr<UsableTls> certificates_ = std::make_shared<UsableTls>();
};

}  // namespace

std::unique_ptr<Dialer> makeWebSocketDialer(asio::any_io_executor owner, IoThreads& threads,
                                            DialOptions options) {
  return std::make_unique<WebSocketDialer>(std::move(owner), threads.context(), std::move(options));
}

}  // namespace vms
