#include "runner/api/http_session.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/string.hpp>
#include <optional>
#include <utility>

#include "runner/api/http_channel.h"
#include "runner/api/http_wire.h"
#include "schema/base/memory_size.h"
#include "schema/base/task_group.h"

namespace vms::runner::api {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;

constexpr Duration kRefusalTimeout = seconds(3);

/// A share of the memory for bodies, given back at the end.
class BodyShare {
 public:
  BodyShare(HttpShared& shared, const std::string& token, std::size_t bytes)
      : shared_(shared),
        bytes_(bytes),
        fits_(shared.bodies_bytes.fetch_add(bytes) + bytes <= shared.options.all_bodies_bytes),
        of_token_(shared.token_bodies_bytes.take(token, bytes)) {}
  ~BodyShare() { shared_.bodies_bytes.fetch_sub(bytes_); }
  BodyShare(const BodyShare&) = delete;
  BodyShare& operator=(const BodyShare&) = delete;

  bool fits() const { return fits_; }
  bool fitsToken() const { return of_token_.has_value(); }

 private:
  HttpShared& shared_;
  std::size_t bytes_;
  bool fits_;
  std::optional<TokenShares::Share> of_token_;
};

HttpRequest requestOf(const HttpParser::value_type& message, const std::string& peer) {
  HttpRequest request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  request.peer = peer;
  for (const auto& field : message) {
    std::string name(field.name_string());
    for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    std::string& value = request.headers[name];
    if (!value.empty()) value += ", ";
    value += field.value();
  }
  return request;
}

/// Everything but the constructor, `askToEnd`, `abort` and `evict` runs on the strand.
class Session final : public HttpSession, public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<HttpShared> shared, std::shared_ptr<asio::ssl::context> tls,
          tcp::socket socket, bool refuse)
      : shared_(std::move(shared)),
        channel_(std::make_shared<HttpChannel>(shared_, std::move(tls), std::move(socket))),
        tasks_(channel_->executor()),
        refuse_(refuse),
        standing_(refuse ? Standing::Kept : Standing::Waiting) {}

  asio::any_io_executor executor() const override { return channel_->executor(); }

  asio::awaitable<void> serve() override {
    const auto self = shared_from_this();
    tasks_.spawn("http connection", [self]() { return self->run(); });
    co_await tasks_.join();
  }

  void askToEnd() override {
    asio::post(executor(), [self = shared_from_this()]() {
      if (self->phase_ == Phase::Idle) self->channel_->close();
      if (self->phase_ == Phase::Streaming) self->producer_.cancelAll();
    });
  }
  void abort() override {
    asio::post(executor(), [self = shared_from_this()]() {
      self->producer_.cancelAll();
      self->channel_->close();
      self->tasks_.cancel();
    });
  }
  bool evict() override {
    if (!turn(Standing::Waiting, Standing::Evicted)) return false;
    asio::post(executor(), [self = shared_from_this()]() { self->channel_->close(); });
    return true;
  }

 private:
  enum class Phase { Idle, Busy, Streaming };
  /// Waiting: for a request, and none before had a token that counts.
  enum class Standing { Waiting, Kept, Evicted };

  /// The group of the coroutine that produces a stream, while there is one.
  struct Producer {
    std::unique_ptr<TaskGroup> group;
    void cancelAll() {
      if (group) group->cancel();
    }
  };

  class ChunkWriter final : public ResponseStream {
   public:
    ChunkWriter(HttpChannel& channel, bool chunked) : channel_(channel), chunked_(chunked) {}
    asio::awaitable<Result<void>> write(std::string data) override {
      if (data.empty()) co_return Result<void>();
      std::string bytes = chunked_ ? chunkOf(data) : std::move(data);
      const bool written = co_await channel_.write(std::move(bytes));
      failed_ = !written;
      if (written) co_return Result<void>();
      co_return Error(ErrorClass::Unavailable, "the client " + channel_.peer() + " is gone");
    }
    bool failed() const { return failed_; }

   private:
    HttpChannel& channel_;
    bool chunked_;
    bool failed_ = false;
  };

  /// False: it did not stand so.
  bool turn(Standing from, Standing to) { return standing_.compare_exchange_strong(from, to); }

  asio::awaitable<void> run() {
    const HttpServerOptions& options = shared_->options;
    if (!co_await channel_->open(refuse_ ? kRefusalTimeout : options.handshake_timeout)) co_return;
    bool more = true;
    while (more && !shared_->stopping) {
      more = co_await serveOne();
      if (token_.empty() && !refuse_) turn(Standing::Kept, Standing::Waiting);
    }
    if (unread_) co_await channel_->discardInput();
    co_await channel_->shutDown();
  }

  /// False: end the connection.
  asio::awaitable<bool> serveOne() {
    const HttpServerOptions& options = shared_->options;
    phase_ = Phase::Idle;
    const bool begun =
        co_await channel_->awaitRequest(refuse_ ? kRefusalTimeout : options.idle_timeout);
    phase_ = Phase::Busy;
    if (!begun) co_return false;
    http10_ = head_only_ = false;
    HttpParser parser;
    parser.header_limit(static_cast<std::uint32_t>(options.header_bytes));
    parser.body_limit(options.body_bytes);
    const error_code ec =
        co_await channel_->readHead(parser, refuse_ ? kRefusalTimeout : options.header_timeout);
    turn(Standing::Waiting, Standing::Kept);
    if (standing_ == Standing::Evicted) co_return false;
    if (ec == asio::error::timed_out) {
      co_return co_await refuseSlow("head", options.header_timeout);
    }
    if (ec) co_return co_await refuseInput(ec);
    if (refuse_) {
      co_return co_await refuse(503, "the engine serves its maximum of " +
                                         std::to_string(options.connections) +
                                         " connections; try again soon");
    }
    co_return co_await serveParsed(parser);
  }

  asio::awaitable<bool> serveParsed(HttpParser& parser) {
    const auto& message = parser.get();
    http10_ = message.version() < 11;
    keep_alive_ = parser.keep_alive();
    head_only_ = message.method() == http::verb::head;
    HttpRequest request = requestOf(message, channel_->peer());
    request.has_body = !parser.is_done();
    if (const Result<void> parsed = parseTarget(request); !parsed) {
      co_return co_await refuse(400, parsed.error().message);
    }
    if (!http10_ && !request.headers.contains("host")) {
      co_return co_await refuse(400, "the request has no Host header; HTTP/1.1 needs one");
    }
    if (shared_->handlers.admit) {
      HttpRequest head = request;
      Admission admission = co_await shared_->handlers.admit(std::move(head));
      if (!holdFor(admission.token)) {
        co_return co_await refuse(429, "token " + admission.token + " has its maximum of " +
                                           std::to_string(shared_->options.token_connections) +
                                           " connections; close some of them and try again");
      }
      if (admission.refusal) {
        unread_ = request.has_body;
        keep_alive_ = keep_alive_ && !request.has_body;
        co_return co_await respond(std::move(*admission.refusal));
      }
      request.context = std::move(admission.context);
    }
    co_return co_await serveAdmitted(parser, std::move(request));
  }

  /// The connection is `token`'s from here on; false: it has too many.
  bool holdFor(const std::string& token) {
    if (token.empty() || token == token_) return true;
    auto share = shared_->token_connections.take(token, 1);
    if (!share) return false;
    share_.reset();
    share_.emplace(std::move(*share));
    token_ = token;
    return true;
  }

  asio::awaitable<bool> serveAdmitted(HttpParser& parser, HttpRequest request) {
    const HttpServerOptions& options = shared_->options;
    const auto announced = parser.content_length();
    const BodyShare share(*shared_, token_,
                          !request.has_body ? 0
                          : announced       ? static_cast<std::size_t>(*announced)
                                            : options.body_bytes);
    if (!share.fitsToken()) {
      co_return co_await refuse(429, "token " + token_ + " has its maximum of " +
                                         formatMemorySize(options.token_bodies_bytes) +
                                         " of bodies under way; wait until some of them are "
                                         "answered");
    }
    if (!share.fits()) {
      co_return co_await refuse(503,
                                "the engine reads as many large bodies as it has memory for; "
                                "try again soon");
    }
    if (request.has_body) {
      if (const auto expect = request.headers.find("expect"); expect != request.headers.end()) {
        if (!beast::iequals(expect->second, "100-continue")) {
          co_return co_await refuse(417, "only 'Expect: 100-continue' is known");
        }
        std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
        if (!co_await channel_->write(std::move(go_on))) co_return false;
      }
      const error_code ec = co_await channel_->readBody(parser, options.body_timeout);
      if (ec == asio::error::timed_out) co_return co_await refuseSlow("body", options.body_timeout);
      if (ec) co_return co_await refuseInput(ec);
      request.body = std::move(parser.get().body());
      shared_->received_body_bytes += request.body.size();
    }
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
    const bool written = co_await channel_->write(std::move(bytes));
    co_return (written && keep);
  }

  asio::awaitable<bool> stream(HttpStream reply) {
    const bool keep = keep_alive_ && !http10_ && !shared_->stopping;
    const Framing framing = http10_ ? Framing::UntilClose : Framing::Chunked;
    std::string head = responseHead(reply.status, reply.headers, framing, 0, keep);
    bool written = co_await channel_->write(std::move(head));
    if (!written || head_only_) co_return (written && keep);
    // From here to joinProducer nothing may throw: the producer refers to our frame.
    const auto cancellation = co_await asio::this_coro::cancellation_state;
    if (cancellation.cancelled() != asio::cancellation_type::none) co_return false;
    ChunkWriter writer(*channel_, !http10_);
    producer_.group = std::make_unique<TaskGroup>(executor());
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
    written = co_await channel_->write(std::move(end));
    co_return (written && keep);
  }

  /// Not interrupted by a cancellation.
  asio::awaitable<void> joinProducer() {
    auto wait = [group = producer_.group.get()]() { return group->join(); };
    co_await asio::co_spawn(
        executor(), std::move(wait),
        asio::bind_cancellation_slot(asio::cancellation_slot(), asio::use_awaitable));
  }

  const std::shared_ptr<HttpShared> shared_;
  const std::shared_ptr<HttpChannel> channel_;
  TaskGroup tasks_;
  Producer producer_;
  Phase phase_ = Phase::Idle;
  const bool refuse_;
  std::atomic<Standing> standing_;
  std::string token_;                        ///< Of the newest request with one that counts.
  std::optional<TokenShares::Share> share_;  ///< Of that token's connections.
  bool http10_ = false;
  bool keep_alive_ = true;
  bool head_only_ = false;
  bool unread_ = false;  ///< The client may still be sending when we end.
};

}  // namespace

std::shared_ptr<HttpSession> makeHttpSession(std::shared_ptr<HttpShared> shared,
                                             std::shared_ptr<asio::ssl::context> tls,
                                             tcp::socket socket, bool refuse) {
  return std::make_shared<Session>(std::move(shared), std::move(tls), std::move(socket), refuse);
}

}  // namespace vms::runner::api
