#include "runner/api/http_session.h"

#include <algorithm>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <utility>

#include "runner/api/http_wire.h"
#include "schema/base/log.h"
#include "schema/base/memory_size.h"
#include "schema/base/task_group.h"

namespace vms::runner::api {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
namespace ssl = asio::ssl;
using boost::system::error_code;
using tcp = asio::ip::tcp;

constexpr std::size_t kReadBytes = 8192;
constexpr std::size_t kWriteBytes = 256u << 10;
constexpr Duration kRefusalTimeout = seconds(3);
constexpr std::size_t kDiscard = 1u << 20;
constexpr Duration kLinger = milliseconds(500);  ///< Without a byte.
constexpr Duration kLingerMax = seconds(3);

/// A share of the memory for bodies, given back at the end.
class BodyShare {
 public:
  BodyShare(HttpShared& shared, std::size_t bytes)
      : shared_(shared),
        bytes_(bytes),
        fits_(shared.bodies_bytes.fetch_add(bytes) + bytes <= shared.options.all_bodies_bytes) {}
  ~BodyShare() { shared_.bodies_bytes.fetch_sub(bytes_); }
  BodyShare(const BodyShare&) = delete;
  BodyShare& operator=(const BodyShare&) = delete;
  bool fits() const { return fits_; }

 private:
  HttpShared& shared_;
  std::size_t bytes_;
  bool fits_;
};

/// Everything but the constructor, `askToEnd` and `abort` runs on the strand.
class Session final : public HttpSession, public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<HttpShared> shared, std::shared_ptr<ssl::context> tls, tcp::socket socket,
          bool refuse)
      : shared_(std::move(shared)),
        tls_(std::move(tls)),
        executor_(socket.get_executor()),
        stream_(beast::tcp_stream(std::move(socket)), *tls_),
        tasks_(executor_),
        linger_(executor_),
        read_limit_(executor_),
        refuse_(refuse),
        standing_(refuse ? Standing::Kept : Standing::Waiting) {}

  asio::any_io_executor executor() const override { return executor_; }

  /// Serves until the connection ends.
  asio::awaitable<void> serve() override {
    const auto self = shared_from_this();
    tasks_.spawn("http connection", [self]() { return self->run(); });
    co_await tasks_.join();
  }

  /// Ends an idle connection or a stream now, another one after its response.
  void askToEnd() override {
    asio::post(executor_, [self = shared_from_this()]() {
      if (self->phase_ == Phase::Idle) self->close();
      if (self->phase_ == Phase::Streaming) self->producer_.cancelAll();
    });
  }
  /// Ends it now.
  void abort() override {
    asio::post(executor_, [self = shared_from_this()]() {
      self->producer_.cancelAll();
      self->close();
      self->tasks_.cancel();
    });
  }
  bool evict() override {
    if (!turn(Standing::Waiting, Standing::Evicted)) return false;
    asio::post(executor_, [self = shared_from_this()]() { self->close(); });
    return true;
  }

 private:
  enum class Phase { Idle, Busy, Streaming };
  /// Waiting: for a request, and none before had a token that counts.
  enum class Standing { Waiting, Kept, Evicted };
  using Stream = beast::ssl_stream<beast::tcp_stream>;
  using Parser = http::request_parser<http::string_body>;

  /// The group of the coroutine that produces a stream, while there is one.
  struct Producer {
    std::unique_ptr<TaskGroup> group;
    void cancelAll() {
      if (group) group->cancel();
    }
  };

  class ChunkWriter final : public ResponseStream {
   public:
    ChunkWriter(Session& session, bool chunked) : session_(session), chunked_(chunked) {}
    asio::awaitable<Result<void>> write(std::string data) override {
      if (data.empty()) co_return Result<void>();
      std::string bytes = chunked_ ? chunkOf(data) : std::move(data);
      const bool written = co_await session_.writeAll(std::move(bytes));
      failed_ = !written;
      if (written) co_return Result<void>();
      co_return Error(ErrorClass::Unavailable, "the client " + session_.peer_ + " is gone");
    }
    bool failed() const { return failed_; }

   private:
    Session& session_;
    bool chunked_;
    bool failed_ = false;
  };

  /// Cancels what is being read when `time` is over; unlike the stream's own limit it leaves the
  /// connection usable, so that the client can be told.
  void limitReading(Duration time) {
    beast::get_lowest_layer(stream_).expires_never();
    reading_ = ++reads_;
    timed_out_ = false;
    read_limit_.expires_after(time);
    read_limit_.async_wait([self = shared_from_this(), number = reads_](error_code cancelled) {
      if (cancelled || self->reading_ != number) return;
      self->timed_out_ = true;
      beast::get_lowest_layer(self->stream_).cancel();
    });
  }
  void readingIsOver() {
    reading_ = 0;
    read_limit_.cancel();
  }

  /// False: it did not stand so.
  bool turn(Standing from, Standing to) { return standing_.compare_exchange_strong(from, to); }

  void close() { beast::get_lowest_layer(stream_).close(); }
  void expireIn(Duration time) { beast::get_lowest_layer(stream_).expires_after(time); }

  asio::awaitable<void> run() {
    error_code ec;
    const auto endpoint = beast::get_lowest_layer(stream_).socket().remote_endpoint(ec);
    if (ec) co_return;
    peer_ = addressOf(endpoint);
    expireIn(refuse_ ? kRefusalTimeout : shared_->options.handshake_timeout);
    co_await stream_.async_handshake(ssl::stream_base::server,
                                     asio::redirect_error(asio::use_awaitable, ec));
    if (ec) {
      ++shared_->tls_failures;
      log::debug("http: TLS with {} failed: {}", peer_, ec.message());
      close();
      co_return;
    }
    bool more = true;
    while (more && !shared_->stopping) {
      more = co_await serveOne();
      if (!proven_ && !refuse_) turn(Standing::Kept, Standing::Waiting);
    }
    if (unread_) co_await discardInput();
    expireIn(seconds(1));
    co_await stream_.async_shutdown(asio::redirect_error(asio::use_awaitable, ec));
    close();
  }

  /// Reads what the client still sends, so that the response is not lost to a reset.
  asio::awaitable<void> discardInput() {
    std::size_t left = std::max(kDiscard, shared_->options.body_bytes * 2);
    linger_.expires_after(kLingerMax);
    linger_.async_wait([self = shared_from_this()](error_code cancelled) {
      if (!cancelled) self->close();
    });
    error_code ec;
    while (left > 0 && !ec && !shared_->stopping) {
      buffer_.clear();
      expireIn(kLinger);
      const std::size_t size = co_await stream_.async_read_some(
          buffer_.prepare(kReadBytes), asio::redirect_error(asio::use_awaitable, ec));
      left -= std::min(left, size);
    }
    linger_.cancel();
  }

  /// False: end the connection.
  asio::awaitable<bool> serveOne() {
    error_code ec;
    if (buffer_.size() == 0) {
      phase_ = Phase::Idle;
      expireIn(refuse_ ? kRefusalTimeout : shared_->options.idle_timeout);
      const std::size_t size = co_await stream_.async_read_some(
          buffer_.prepare(kReadBytes), asio::redirect_error(asio::use_awaitable, ec));
      phase_ = Phase::Busy;
      if (ec) co_return false;
      buffer_.commit(size);
    }
    http10_ = head_only_ = false;
    Parser parser;
    parser.header_limit(static_cast<std::uint32_t>(shared_->options.header_bytes));
    parser.body_limit(shared_->options.body_bytes);
    limitReading(refuse_ ? kRefusalTimeout : shared_->options.header_timeout);
    co_await http::async_read_header(stream_, buffer_, parser,
                                     asio::redirect_error(asio::use_awaitable, ec));
    readingIsOver();
    turn(Standing::Waiting, Standing::Kept);
    if (standing_ == Standing::Evicted) co_return false;
    if (ec && timed_out_) co_return co_await refuseSlow("head", shared_->options.header_timeout);
    if (ec) co_return co_await refuseInput(ec);
    if (refuse_) {
      co_return co_await refuse(503, "the engine serves its maximum of " +
                                         std::to_string(shared_->options.connections) +
                                         " connections; try again soon");
    }
    co_return co_await serveParsed(parser);
  }

  asio::awaitable<bool> serveParsed(Parser& parser) {
    const auto& message = parser.get();
    http10_ = message.version() < 11;
    keep_alive_ = parser.keep_alive();
    head_only_ = message.method() == http::verb::head;

    HttpRequest request;
    request.method = std::string(message.method_string());
    request.target = std::string(message.target());
    request.peer = peer_;
    for (const auto& field : message) {
      std::string name(field.name_string());
      for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
      std::string& value = request.headers[name];
      if (!value.empty()) value += ", ";
      value += field.value();
    }
    const bool has_body = request.has_body = !parser.is_done();
    if (const Result<void> parsed = parseTarget(request); !parsed) {
      co_return co_await refuse(400, parsed.error().message);
    }
    if (!http10_ && !request.headers.contains("host")) {
      co_return co_await refuse(400, "the request has no Host header; HTTP/1.1 needs one");
    }
    if (shared_->handlers.admit) {
      HttpRequest head = request;
      Admission admission = co_await shared_->handlers.admit(std::move(head));
      proven_ = proven_ || admission.proven;
      if (admission.refusal) {
        unread_ = has_body;
        keep_alive_ = keep_alive_ && !has_body;
        co_return co_await respond(std::move(*admission.refusal));
      }
      request.context = std::move(admission.context);
    }
    const auto announced = parser.content_length();
    const BodyShare share(*shared_, !has_body   ? 0
                                    : announced ? static_cast<std::size_t>(*announced)
                                                : shared_->options.body_bytes);
    if (has_body) {
      if (!share.fits()) {
        co_return co_await refuse(503,
                                  "the engine reads as many large bodies as it has memory for; "
                                  "try again soon");
      }
      if (const auto expect = request.headers.find("expect"); expect != request.headers.end()) {
        if (!beast::iequals(expect->second, "100-continue")) {
          co_return co_await refuse(417, "only 'Expect: 100-continue' is known");
        }
        std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
        if (!co_await writeAll(std::move(go_on))) co_return false;
      }
      error_code ec;
      limitReading(shared_->options.body_timeout);
      co_await http::async_read(stream_, buffer_, parser,
                                asio::redirect_error(asio::use_awaitable, ec));
      readingIsOver();
      if (ec && timed_out_) co_return co_await refuseSlow("body", shared_->options.body_timeout);
      if (ec) co_return co_await refuseInput(ec);
      request.body = std::move(parser.get().body());
      shared_->received_body_bytes += request.body.size();
    }
    beast::get_lowest_layer(stream_).expires_never();
    HttpReply reply = co_await shared_->handlers.handle(std::move(request));
    if (auto* whole = std::get_if<HttpResponse>(&reply)) {
      co_return co_await respond(std::move(*whole));
    }
    co_return co_await stream(std::move(std::get<HttpStream>(reply)));
  }

  /// Answers what the parser refused, when there is somebody to answer.
  asio::awaitable<bool> refuseInput(error_code why) {
    unread_ = true;
    if (why == http::error::body_limit) {
      co_return co_await refuse(413, "the body is larger than the " +
                                         formatMemorySize(shared_->options.body_bytes) +
                                         " that are accepted; send it in parts");
    }
    if (why == http::error::header_limit || why == http::error::buffer_overflow) {
      co_return co_await refuse(431, "the header is larger than the " +
                                         formatMemorySize(shared_->options.header_bytes) +
                                         " that are accepted; send a shorter one");
    }
    static const auto& category = make_error_code(http::error::bad_method).category();
    if (why.category() != category || why == http::error::end_of_stream ||
        why == http::error::partial_message) {
      unread_ = false;
      co_return false;
    }
    co_return co_await refuse(400, "this is not HTTP/1.1: " + why.message());
  }

  asio::awaitable<bool> refuseSlow(const char* part, Duration limit) {
    co_return co_await refuse(408, "the request's " + std::string(part) + " did not come within " +
                                       formatDuration(limit) + "; send it again, faster");
  }

  asio::awaitable<bool> refuse(int status, std::string detail) {
    unread_ = true;
    keep_alive_ = false;
    HttpResponse response = shared_->handlers.problem(status, std::move(detail));
    co_return co_await respond(std::move(response));
  }

  asio::awaitable<bool> respond(HttpResponse response) {
    const bool keep = keep_alive_ && !shared_->stopping;
    std::string bytes = responseHead(response.status, response.headers, Framing::Length,
                                     response.body.size(), keep);
    if (!head_only_) bytes += response.body;
    response.body = std::string();
    const bool written = co_await writeAll(std::move(bytes));
    co_return (written && keep);
  }

  asio::awaitable<bool> stream(HttpStream reply) {
    const bool keep = keep_alive_ && !http10_ && !shared_->stopping;
    const Framing framing = http10_ ? Framing::UntilClose : Framing::Chunked;
    std::string head = responseHead(reply.status, reply.headers, framing, 0, keep);
    bool written = co_await writeAll(std::move(head));
    if (!written || head_only_) co_return (written && keep);
    // From here to joinProducer nothing may throw: the producer refers to our frame.
    const auto cancellation = co_await asio::this_coro::cancellation_state;
    if (cancellation.cancelled() != asio::cancellation_type::none) co_return false;
    ChunkWriter writer(*this, !http10_);
    producer_.group = std::make_unique<TaskGroup>(executor_);
    phase_ = Phase::Streaming;
    bool finished = false;
    if (!shared_->stopping) {
      producer_.group->spawn("http stream",
                             [&reply, &writer, &finished]() -> asio::awaitable<void> {
                               const Result<void> produced = co_await reply.produce(writer);
                               finished = produced.has_value();
                             });
      co_await joinProducer();
    }
    phase_ = Phase::Busy;
    producer_.group.reset();
    if (writer.failed() || http10_ || !finished) co_return false;
    std::string end = chunkOf("");
    written = co_await writeAll(std::move(end));
    co_return (written && keep);
  }

  /// Not interrupted by a cancellation.
  asio::awaitable<void> joinProducer() {
    auto wait = [group = producer_.group.get()]() { return group->join(); };
    co_await asio::co_spawn(
        executor_, std::move(wait),
        asio::bind_cancellation_slot(asio::cancellation_slot(), asio::use_awaitable));
  }

  asio::awaitable<bool> writeAll(std::string bytes) {
    std::size_t sent = 0;
    while (sent < bytes.size()) {
      const std::size_t size = std::min(kWriteBytes, bytes.size() - sent);
      error_code ec;
      expireIn(shared_->options.write_timeout);
      co_await asio::async_write(stream_, asio::buffer(bytes.data() + sent, size),
                                 asio::redirect_error(asio::use_awaitable, ec));
      if (ec) co_return false;
      sent += size;
      shared_->sent_bytes += size;
    }
    beast::get_lowest_layer(stream_).expires_never();
    co_return true;
  }

  const std::shared_ptr<HttpShared> shared_;
  const std::shared_ptr<ssl::context> tls_;
  const asio::any_io_executor executor_;
  Stream stream_;
  TaskGroup tasks_;
  asio::steady_timer linger_;
  asio::steady_timer read_limit_;
  Producer producer_;
  beast::flat_buffer buffer_;
  std::string peer_;
  Phase phase_ = Phase::Idle;
  const bool refuse_;
  std::atomic<Standing> standing_;
  bool proven_ = false;  ///< A request had a token that counts.
  bool http10_ = false;
  bool keep_alive_ = true;
  bool head_only_ = false;
  std::uint64_t reads_ = 0;    ///< Begun under read_limit_.
  std::uint64_t reading_ = 0;  ///< The one under way; 0: none.
  bool timed_out_ = false;     ///< It was over.
  bool unread_ = false;        ///< The client may still be sending when we end.
};

}  // namespace

std::string addressOf(const tcp::endpoint& endpoint) {
  const std::string host = endpoint.address().to_string();
  return (endpoint.address().is_v6() ? "[" + host + "]" : host) + ":" +
         std::to_string(endpoint.port());
}

std::shared_ptr<HttpSession> makeHttpSession(std::shared_ptr<HttpShared> shared,
                                             std::shared_ptr<ssl::context> tls, tcp::socket socket,
                                             bool refuse) {
  return std::make_shared<Session>(std::move(shared), std::move(tls), std::move(socket), refuse);
}

}  // namespace vms::runner::api
