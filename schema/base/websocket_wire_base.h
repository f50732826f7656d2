#pragma once

// What both ends of a wire share. Heavy: for websocket_wire.cc alone, the only translation unit of
// this library with Beast's WebSocket over TLS.

#include <openssl/ssl.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/bind_handler.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <limits>
#include <optional>
#include <utility>

#include "schema/base/log.h"
#include "schema/base/time.h"
#include "schema/base/tls_context.h"
#include "schema/base/websocket_wire.h"

namespace vms::wire {

namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using boost::system::error_code;

inline constexpr std::size_t kMaxRequestBytes = 8192;
inline constexpr std::size_t kMaxDrainedBytes = 65536;
inline constexpr std::size_t kFragmentBytes = 8192;
inline constexpr std::size_t kMinPieceBytes = 1536;
inline constexpr std::size_t kMaxPieceBytes = 65536;
inline constexpr auto kCloseTimeout = seconds(2);
inline constexpr auto kDrainTimeout = seconds(1);
inline constexpr int kTicksUntilPing = 2;
inline constexpr int kTicksUntilDead = 4;

/// Limits nothing; counts what passes the socket, as a sign of life.
class ByteCounts {
 public:
  std::size_t read = 0;
  std::size_t written = 0;

 private:
  friend class beast::rate_policy_access;
  static std::size_t available_read_bytes() { return std::numeric_limits<std::size_t>::max(); }
  static std::size_t available_write_bytes() { return std::numeric_limits<std::size_t>::max(); }
  void transfer_read_bytes(std::size_t n) { read += n; }
  void transfer_write_bytes(std::size_t n) { written += n; }
  static void on_timer() {}
};

using Tcp = beast::basic_stream<asio::ip::tcp, PoolExecutor, ByteCounts>;
using Tls = beast::ssl_stream<Tcp>;
using WebSocket = websocket::stream<Tls>;
using Timer =
    asio::basic_waitable_timer<std::chrono::steady_clock,
                               asio::wait_traits<std::chrono::steady_clock>, PoolExecutor>;

/// asio's wrapper owns its handle, ours stays shared.
inline asio::ssl::context shareContext(const TlsContext& tls) {
  SSL_CTX_up_ref(tls.get());
  return asio::ssl::context(tls.get());
}

inline bool isTlsError(const error_code& error) {
  return error.category() == asio::error::get_ssl_category();
}

inline TlsFailure explain(const error_code& error) {
  // error_code stores OpenSSL's unsigned code in an int.
  if (isTlsError(error)) return explainTlsError(static_cast<unsigned int>(error.value()));
  if (error == asio::error::eof || error == asio::ssl::error::stream_truncated ||
      error == asio::error::connection_reset || error == asio::error::broken_pipe) {
    return {"the peer closed the connection", false};
  }
  return {error.message(), false};
}

class WebSocketWire : public Wire, public std::enable_shared_from_this<WebSocketWire> {
 public:
  WebSocketWire(PoolSocket socket, asio::ssl::context& tls, WireOptions options)
      : ws_(Tcp(std::move(socket)), tls),
        timer_(ws_.get_executor()),
        options_(std::move(options)) {}

  ~WebSocketWire() override {
    if (pipe_) pipe_->unbindWire();
    if (options_.gone) options_.gone();
  }

  void abortHandshake() override {
    asio::post(ws_.get_executor(), [self = shared_from_this()] {
      if (self->phase_ == Phase::Handshake) self->refuse(ErrorClass::Unavailable, "given up by us");
    });
  }

  void checkPeer(TlsContext tls) override {
    asio::post(ws_.get_executor(), [self = shared_from_this(), tls = std::move(tls)] {
      if (self->phase_ != Phase::Open) return;
      const auto trusted = stillTrusted(self->tls().native_handle(), tls);
      if (!trusted) {
        self->cut(trusted.error().error_class, "was cut: " + trusted.error().message);
      }
    });
  }

  void start() {
    asio::post(ws_.get_executor(), [self = shared_from_this()] { self->begin(); });
  }

 protected:
  enum class Phase { Handshake, Open, Closing, Draining, Dead };

  /// Begins the TLS handshake.
  virtual void shakeHands() = 0;

  template <class Self, class... Args>
  auto resume(void (Self::*step)(Args...)) {
    return beast::bind_front_handler(step,
                                     std::static_pointer_cast<Self>(this->shared_from_this()));
  }

  Tls& tls() { return ws_.next_layer(); }
  Tcp& tcp() { return ws_.next_layer().next_layer(); }

  bool handshaking() const { return phase_ == Phase::Handshake; }

  /// Reports why there will be no connection and ends the wire.
  void refuse(ErrorClass error_class, std::string reason) {
    if (auto done = std::exchange(options_.done, nullptr)) {
      done(Error(error_class, std::move(reason)));
    }
    kill();
  }

  /// The same, but lets the peer read what we wrote last: closing a socket with unread input would
  /// make its system drop our alert or answer.
  void refuseGently(ErrorClass error_class, std::string reason) {
    if (auto done = std::exchange(options_.done, nullptr)) {
      done(Error(error_class, std::move(reason)));
    }
    phase_ = Phase::Draining;
    error_code ignored;
    tcp().socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    arm(kDrainTimeout, &WebSocketWire::kill);
    drain();
  }

  /// Both handshakes are done: from now on the pipe rules.
  void open(PeerIdentity peer, const std::string& label) {
    phase_ = Phase::Open;
    pipe_ = std::make_shared<MessagePipe>(options_.limits, label);
    pipe_->bindWire([weak = weak_from_this(), executor = ws_.get_executor()] {
      asio::post(executor, [weak] {
        if (const auto self = weak.lock()) self->look();
      });
    });
    read();
    arm(options_.dead_after / kTicksUntilDead, &WebSocketWire::tick);
    if (auto done = std::exchange(options_.done, nullptr)) done(OpenedWire{std::move(peer), pipe_});
  }

  WebSocket ws_;
  beast::flat_buffer buffer_{2 * kMaxRequestBytes};
  Timer timer_;
  WireOptions options_;
  /// Why the peer's certificate was refused, if it was.
  std::string verify_failure_;

 private:
  void begin() {
    error_code ignored;
    tcp().socket().set_option(asio::ip::tcp::no_delay(true), ignored);
    websocket::permessage_deflate deflate;
    deflate.server_enable = deflate.client_enable = true;
    deflate.server_max_window_bits = deflate.client_max_window_bits = 12;
    deflate.server_no_context_takeover = deflate.client_no_context_takeover = true;
    deflate.compLevel = 1;
    deflate.memLevel = 4;
    deflate.msg_size_threshold = options_.compress_from_bytes == 0
                                     ? std::numeric_limits<std::size_t>::max()
                                     : options_.compress_from_bytes;
    ws_.set_option(deflate);
    ws_.read_message_max(0);  // onRead() has its own limit, and a better farewell
    ws_.write_buffer_bytes(kFragmentBytes);
    ws_.auto_fragment(true);
    ws_.binary(true);
    tls().set_verify_callback([this](bool accepted, asio::ssl::verify_context& context) {
      if (accepted) return true;
      X509_STORE_CTX* const store = context.native_handle();
      const int why = X509_STORE_CTX_get_error(store);
      if (isTolerated(why)) return true;
      if (verify_failure_.empty()) {
        verify_failure_ = explainVerifyError(why, X509_STORE_CTX_get_current_cert(store));
      }
      return false;
    });
    arm(options_.handshake_timeout, &WebSocketWire::handshakeTimedOut);
    shakeHands();
  }

  void arm(Duration delay, void (WebSocketWire::*action)()) {
    timer_.expires_after(std::chrono::duration_cast<std::chrono::steady_clock::duration>(delay));
    timer_.async_wait([self = shared_from_this(), action](const error_code& error) {
      if (!error) (self.get()->*action)();
    });
  }

  void handshakeTimedOut() {
    if (handshaking()) refuse(ErrorClass::Unavailable, "the handshake took too long");
  }

  void kill() {
    phase_ = Phase::Dead;
    timer_.cancel();
    tcp().close();
  }

  void drain() {
    scratch_.resize(4096);
    tcp().async_read_some(asio::buffer(scratch_), resume(&WebSocketWire::onDrained));
  }
  void onDrained(const error_code& error, std::size_t bytes) {
    drained_ += bytes;
    if (error || drained_ > kMaxDrainedBytes) return kill();
    drain();
  }

  // --- Open ---

  void endWith(ErrorClass error_class, const std::string& reason) {
    pipe_->end(error_class, reason);
    kill();
  }

  /// The peer is no use any more: ends at once.
  void cut(ErrorClass error_class, const std::string& reason) {
    log::warn("connection to {} {}", pipe_->label(), reason);
    endWith(error_class, reason);
  }

  /// The peer broke a rule, and is told which.
  void expel(websocket::close_code code, const std::string& reason) {
    log::warn("connection to {} {}", pipe_->label(), reason);
    pipe_->end(ErrorClass::Unavailable, reason);
    beginClose(code);
  }

  void beginClose(websocket::close_code code) {
    phase_ = Phase::Closing;
    close_code_ = code;
    arm(kCloseTimeout, &WebSocketWire::kill);
    writeNext();
  }

  void look() {
    pipe_->lookedAt();
    if (phase_ != Phase::Open) return;
    switch (pipe_->state()) {
      case PipeState::Open:
        writeNext();
        if (!reading_ && pipe_->wantsMore()) read();
        break;
      case PipeState::Closing:
        beginClose(websocket::close_code::normal);
        break;
      case PipeState::Broken:
        log::warn("{}", pipe_->endReason()->message);
        kill();
        break;
    }
  }

  /// Reads the next piece of the message in incoming_, whose first `received_` bytes are there.
  void read() {
    reading_ = true;
    const std::size_t piece = std::min(ws_.read_size_hint(kMinPieceBytes), kMaxPieceBytes);
    incoming_.resize(received_ + piece);
    ws_.async_read_some(asio::buffer(incoming_.data() + received_, piece),
                        resume(&WebSocketWire::onRead));
  }

  void onRead(const error_code& error, std::size_t bytes) {
    reading_ = false;
    if (phase_ != Phase::Open) return;
    if (error) return endWith(ErrorClass::Unavailable, readFailure(error));
    received_ += bytes;
    // Checked piece by piece, after inflation: neither a header that announces too much nor a
    // message that inflates to too much takes memory.
    if (received_ > options_.limits.max_receive_bytes) {
      return expel(websocket::close_code::too_big,
                   "was closed because the peer sent a message over the limit of " +
                       std::to_string(options_.limits.max_receive_bytes) + " bytes");
    }
    if (!ws_.got_binary()) {
      return expel(websocket::close_code::unknown_data,
                   "was closed because the peer sent a text message");
    }
    if (ws_.is_message_done()) {
      incoming_.resize(std::exchange(received_, 0));
      pipe_->deliver(std::exchange(incoming_, {}));
      if (!pipe_->wantsMore()) return;
    }
    read();
  }

  std::string readFailure(const error_code& error) {
    if (error != websocket::error::closed) return "was cut: " + explain(error).text;
    const bool too_big = ws_.reason().code == websocket::close_code::too_big;
    return too_big ? "was closed by the peer: a message was over its limit"
                   : "was closed by the peer";
  }

  void writeNext() {
    if (writing_) return;
    auto message = pipe_->nextOutgoing();
    if (message) {
      writing_ = true;
      outgoing_ = std::move(*message);
      ws_.async_write(asio::buffer(outgoing_), resume(&WebSocketWire::onWritten));
    } else if (phase_ == Phase::Closing) {
      writing_ = true;
      ws_.async_close(close_code_, resume(&WebSocketWire::onClosed));
    }
  }

  void onWritten(const error_code& error, std::size_t) {
    writing_ = false;
    pipe_->written(outgoing_.size());
    outgoing_ = {};
    if (phase_ == Phase::Dead) return;
    // A failure also ends the read, which knows the better reason, unless there is none.
    if (!error) return writeNext();
    if (phase_ == Phase::Closing) return kill();
    if (!reading_) endWith(ErrorClass::Unavailable, "was cut: " + explain(error).text);
  }

  void onClosed(const error_code&) { kill(); }

  void tick() {
    if (phase_ != Phase::Open) return;
    const ByteCounts& counts = tcp().rate_policy();
    silent_ticks_ = reading_ && counts.read == seen_.read ? silent_ticks_ + 1 : 0;
    stalled_ticks_ = writing_ && counts.written == seen_.written ? stalled_ticks_ + 1 : 0;
    seen_ = counts;
    if (stalled_ticks_ >= kTicksUntilDead || silent_ticks_ >= kTicksUntilDead) {
      // A peer that does not read answers no ping either.
      const bool stalled = writing_;
      return cut(stalled ? ErrorClass::RateLimited : ErrorClass::Unavailable,
                 std::string("was closed because the peer ") +
                     (stalled ? "does not read or is gone" : "gave no sign of life") + " for " +
                     formatDuration(options_.dead_after));
    }
    if (silent_ticks_ == kTicksUntilPing && !pinging_) {
      pinging_ = true;
      ws_.async_ping({}, resume(&WebSocketWire::onPinged));
    }
    arm(options_.dead_after / kTicksUntilDead, &WebSocketWire::tick);
  }
  void onPinged(const error_code&) { pinging_ = false; }

  Phase phase_ = Phase::Handshake;
  std::shared_ptr<MessagePipe> pipe_;
  std::string scratch_;
  std::size_t drained_ = 0;

  std::string incoming_;
  std::size_t received_ = 0;
  std::string outgoing_;
  websocket::close_code close_code_ = websocket::close_code::normal;
  bool reading_ = false;
  bool writing_ = false;
  bool pinging_ = false;
  int silent_ticks_ = 0;
  int stalled_ticks_ = 0;
  ByteCounts seen_;
};

}  // namespace vms::wire
