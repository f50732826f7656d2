#include <algorithm>
#include <atomic>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <chrono>
#include <list>
#include <mutex>
#include <utility>
#include <vector>

#include "schema/base/net_address.h"
#include "schema/base/owner_signal.h"
#include "schema/base/pipe_connection.h"
#include "schema/base/refusal_log.h"
#include "schema/base/websocket_transport.h"
#include "schema/base/websocket_wire.h"

namespace vms {
namespace {

using asio::ip::tcp;
using boost::system::error_code;
using PoolAcceptor = asio::basic_socket_acceptor<tcp, PoolExecutor>;
using PoolTimer =
    asio::basic_waitable_timer<std::chrono::steady_clock,
                               asio::wait_traits<std::chrono::steady_clock>, PoolExecutor>;

constexpr auto kBeat = seconds(1);
constexpr auto kPauseWithoutDescriptors = milliseconds(100);

std::string describe(const tcp::endpoint& endpoint) {
  return formatNetAddress({endpoint.address().to_string(), endpoint.port()});
}

/// What the owner's end and the pool's end share; it holds nothing of either.
struct Shared {
  Shared(OwnerSignal::Remote owner, TlsContext tls)
      : ready(std::move(owner)), tls_(std::move(tls)) {}

  OwnerQueue<OpenedWire> ready;
  std::atomic<std::size_t> wires{0};  ///< Whose sockets exist, handshakes included.

  TlsContext tls() const {
    const std::lock_guard lock(mutex_);
    return tls_;
  }
  void setTls(TlsContext tls) {
    const std::lock_guard lock(mutex_);
    tls_.swap(tls);
  }

 private:
  mutable std::mutex mutex_;
  TlsContext tls_;
};

/// The pool's end: accepts, counts and gives up. Lives on its strand, kept by its timer.
class Acceptor : public std::enable_shared_from_this<Acceptor> {
 public:
  Acceptor(asio::io_context& pool, PoolExecutor strand, PoolAcceptor acceptor,
           ListenOptions options, std::shared_ptr<Shared> shared)
      : pool_(pool),
        strand_(std::move(strand)),
        acceptor_(std::move(acceptor)),
        beat_(strand_),
        pause_(strand_),
        options_(std::move(options)),
        shared_(std::move(shared)) {}

  // From any thread.
  void start() {
    onStrand([](Acceptor& self) {
      self.beat();
      self.acceptNext();
    });
  }
  void stop() {
    onStrand([](Acceptor& self) { self.stopNow(); });
  }
  /// The TLS context is another one.
  void checkPeers() {
    onStrand([](Acceptor& self) {
      for (const auto& open : self.open_) {
        if (const auto wire = open.lock()) wire->checkPeer(self.shared_->tls());
      }
    });
  }
  /// The owner took a connection.
  void taken() {
    onStrand([](Acceptor& self) { self.freeSlot(); });
  }

 private:
  struct Handshake {
    std::weak_ptr<Wire> wire;
    bool old = false;  ///< Was under way at an earlier beat.
  };
  using HandshakeList = std::list<Handshake>;

  template <class Function>
  void onStrand(Function function) {
    asio::post(strand_, [self = shared_from_this(), function] { function(*self); });
  }

  bool full() const { return slots_ >= options_.max_handshakes; }

  void beat() {
    beat_.expires_after(kBeat);
    beat_.async_wait([self = shared_from_this()](const error_code&) {
      if (self->stopped_) return;
      self->log_.nextWindow();
      self->makeRoom();
      std::erase_if(self->open_, [](const auto& wire) { return wire.expired(); });
      self->beat();
    });
  }

  /// While all slots are taken, a handshake may last no longer than from one beat to the next.
  void makeRoom() {
    for (Handshake& handshake : handshakes_) {
      if (full() && handshake.old) {
        if (const auto wire = handshake.wire.lock()) wire->abortHandshake();
      }
      handshake.old = true;
    }
  }

  void acceptNext() {
    if (stopped_ || accepting_ || full()) return;
    accepting_ = true;
    acceptor_.async_accept(asio::make_strand(pool_),
                           [self = shared_from_this()](const error_code& error, PoolSocket socket) {
                             self->accepting_ = false;
                             self->accepted(error, std::move(socket));
                           });
  }

  void accepted(const error_code& error, PoolSocket socket) {
    if (stopped_) return;
    if (error) {
      log_.refused("the network", "cannot accept: " + error.message());
      // Out of descriptors or memory: the connection stays in the backlog.
      pause_.expires_after(kPauseWithoutDescriptors);
      pause_.async_wait([self = shared_from_this()](const error_code&) { self->acceptNext(); });
      return;
    }
    error_code gone;
    const tcp::endpoint peer = socket.remote_endpoint(gone);
    if (!gone) {
      if (shared_->wires >= options_.max_connections) {
        log_.refused(describe(peer), "all " + std::to_string(options_.max_connections) +
                                         " connections are in use (max_connections)");
      } else {
        shakeHands(std::move(socket), describe(peer));
      }
    }
    acceptNext();
  }

  void shakeHands(PoolSocket socket, const std::string& peer) {
    ++slots_;
    ++shared_->wires;
    const auto place = handshakes_.emplace(handshakes_.end());
    WireOptions options;
    options.tls = shared_->tls();
    options.limits = options_.limits;
    options.handshake_timeout = options_.handshake_timeout;
    options.dead_after = options_.dead_after;
    options.compress_from_bytes = options_.compress_from_bytes;
    options.peer_address = peer;
    options.gone = [shared = shared_] { --shared->wires; };
    options.done = [self = shared_from_this(), place, peer,
                    tls = options.tls](Result<OpenedWire> result) {
      asio::post(self->strand_, [self, place, peer, tls, result = std::move(result)]() mutable {
        self->shaken(place, peer, tls, std::move(result));
      });
    };
    place->wire = startServerWire(std::move(socket), std::move(options));
  }

  void shaken(HandshakeList::iterator place, const std::string& peer, const TlsContext& tls,
              Result<OpenedWire> result) {
    const std::weak_ptr<Wire> wire = place->wire;
    handshakes_.erase(place);
    if (!result) {
      if (!stopped_) log_.refused(peer, result.error().message);
      return freeSlot();
    }
    open_.push_back(wire);
    if (const TlsContext now = shared_->tls(); now != tls) {
      if (const auto open = wire.lock()) open->checkPeer(now);
    }
    const auto pipe = result->pipe;
    if (!shared_->ready.push(std::move(*result))) pipe->closeByOwner();
  }

  void freeSlot() {
    --slots_;
    acceptNext();
  }

  void stopNow() {
    stopped_ = true;
    error_code ignored;
    acceptor_.close(ignored);
    beat_.cancel();
    pause_.cancel();
    for (const Handshake& handshake : handshakes_) {
      if (const auto wire = handshake.wire.lock()) wire->abortHandshake();
    }
  }

  asio::io_context& pool_;
  const PoolExecutor strand_;
  PoolAcceptor acceptor_;
  PoolTimer beat_;
  PoolTimer pause_;
  const ListenOptions options_;
  const std::shared_ptr<Shared> shared_;
  RefusalLog log_;
  HandshakeList handshakes_;
  std::vector<std::weak_ptr<Wire>> open_;  ///< Those that are gone leave at the next beat.
  std::size_t slots_ = 0;  ///< Handshakes under way, and done but not taken by the owner.
  bool accepting_ = false;
  bool stopped_ = false;
};

struct OwnerEnd {
  OwnerEnd(asio::any_io_executor owner_in, TlsContext tls)
      : owner(std::move(owner_in)),
        signal(owner),
        shared(std::make_shared<Shared>(signal.remote(), std::move(tls))) {}

  asio::any_io_executor owner;
  OwnerSignal signal;
  std::shared_ptr<Shared> shared;
  std::weak_ptr<Acceptor> acceptor;
};

asio::awaitable<Result<std::unique_ptr<Connection>>> acceptFrom(std::shared_ptr<OwnerEnd> end) {
  for (;;) {
    if (end->shared->ready.closed()) {
      co_return Error(ErrorClass::Unavailable, "the listener is closed");
    }
    std::optional<OpenedWire> wire = end->shared->ready.tryPop();
    if (wire) {
      if (const auto acceptor = end->acceptor.lock()) acceptor->taken();
      co_return connectionOf(end->owner, std::move(*wire));
    }
    co_await end->signal.wait();
  }
}

class TlsListener final : public WebSocketListener {
 public:
  TlsListener(std::shared_ptr<OwnerEnd> end, TlsFiles files, std::string bound)
      : end_(std::move(end)), files_(std::move(files)), bound_(std::move(bound)) {}
  ~TlsListener() override { TlsListener::close(); }

  asio::awaitable<Result<std::unique_ptr<Connection>>> accept() override {
    return acceptFrom(end_);
  }

  void close() noexcept override {
    for (const OpenedWire& wire : end_->shared->ready.close()) wire.pipe->closeByOwner();
    if (const auto acceptor = end_->acceptor.lock()) acceptor->stop();
    end_->signal.wake();
  }

  std::string boundAddress() const override { return bound_; }

  Result<void> reload() override {
    auto tls = makeServerTls(files_);
    if (!tls) return tls.error();
    end_->shared->setTls(std::move(*tls));
    if (const auto acceptor = end_->acceptor.lock()) acceptor->checkPeers();
    return {};
  }

 private:
  std::shared_ptr<OwnerEnd> end_;
  const TlsFiles files_;
  const std::string bound_;
};

Result<tcp::endpoint> endpointFor(asio::io_context& pool, const NetAddress& address) {
  error_code error;
  const auto literal = asio::ip::make_address(address.host, error);
  if (!error) return tcp::endpoint(literal, address.port);
  const auto found = tcp::resolver(pool).resolve(address.host, std::to_string(address.port),
                                                 tcp::resolver::passive, error);
  if (error || found.empty()) {
    return Error(ErrorClass::Invalid, "cannot listen on " + formatNetAddress(address) + ": " +
                                          error.message() + "; use an address of this machine");
  }
  return found.begin()->endpoint();
}

}  // namespace

Result<std::unique_ptr<WebSocketListener>> listenWebSocket(asio::any_io_executor owner,
                                                           IoThreads& threads,
                                                           ListenOptions options) {
  auto address = parseNetAddress(options.address);
  if (!address) return withContext(address.error(), "cannot listen");
  if (options.tls.ca.empty()) {
    return Error(ErrorClass::Invalid, "cannot listen on " + options.address +
                                          " without a CA that client certificates come from");
  }
  auto tls = makeServerTls(options.tls);
  if (!tls) return tls.error();
  asio::io_context& pool = threads.context();
  auto endpoint = endpointFor(pool, *address);
  if (!endpoint) return endpoint.error();

  const PoolExecutor strand = asio::make_strand(pool);
  PoolAcceptor acceptor(strand);
  error_code error;
  const auto unless_failed = [&error](auto step) {
    if (!error) step();
  };
  unless_failed([&] { acceptor.open(endpoint->protocol(), error); });
  unless_failed([&] { acceptor.set_option(PoolAcceptor::reuse_address(true), error); });
  unless_failed([&] { acceptor.bind(*endpoint, error); });
  unless_failed([&] { acceptor.listen(PoolAcceptor::max_listen_connections, error); });
  tcp::endpoint bound;
  unless_failed([&] { bound = acceptor.local_endpoint(error); });
  if (error) {
    return Error(ErrorClass::Unavailable,
                 "cannot listen on " + options.address + ": " + error.message() +
                     "; stop the program that uses it or choose another address");
  }

  const TlsFiles files = options.tls;
  const auto end = std::make_shared<OwnerEnd>(std::move(owner), std::move(*tls));
  const auto accepting = std::make_shared<Acceptor>(pool, strand, std::move(acceptor),
                                                    std::move(options), end->shared);
  end->acceptor = accepting;
  accepting->start();
  return std::unique_ptr<WebSocketListener>(
      std::make_unique<TlsListener>(end, files, describe(bound)));
}

}  // namespace vms
