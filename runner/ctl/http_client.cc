#include "runner/ctl/http_client.h"

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>

#include "runner/ctl/interrupt.h"
#include "schema/base/asio_clock.h"

namespace vms::runner::ctl {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace ssl = asio::ssl;
using boost::system::error_code;
using tcp = asio::ip::tcp;

constexpr Duration kTick = milliseconds(100);
constexpr std::size_t kPiece = 64u << 10;
constexpr std::size_t kAnswerBytes = 256u << 20;

struct Address {
  std::string host;
  std::string port = "8443";
};

std::optional<Address> parseServer(std::string_view url) {
  constexpr std::string_view kScheme = "https://";
  if (!url.starts_with(kScheme)) return std::nullopt;
  url.remove_prefix(kScheme.size());
  while (url.ends_with('/')) url.remove_suffix(1);
  Address address;
  std::size_t end = url.rfind(':');
  if (url.starts_with('[')) {
    const std::size_t bracket = url.find(']');
    if (bracket == std::string_view::npos) return std::nullopt;
    address.host = std::string(url.substr(1, bracket - 1));
    if (bracket + 1 < url.size() && url[bracket + 1] != ':') return std::nullopt;
    end = bracket + 1 < url.size() ? bracket + 1 : std::string_view::npos;
  } else {
    address.host = std::string(url.substr(0, end));
  }
  if (end != std::string_view::npos) address.port = std::string(url.substr(end + 1));
  const bool bad_host =
      address.host.empty() || address.host.find_first_of("/?#@ ") != std::string::npos;
  const bool bad_port = address.port.empty() || address.port.size() > 5 ||
                        address.port.find_first_not_of("0123456789") != std::string::npos ||
                        std::stoi(address.port) < 1 || std::stoi(address.port) > 65'535;
  if (bad_host || bad_port) return std::nullopt;
  return address;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return out;
}

std::string wordsOf(error_code ec) {
  const bool ended = ec == http::error::end_of_stream || ec == http::error::partial_message ||
                     ec == asio::error::eof || ec == asio::ssl::error::stream_truncated;
  return ended ? "it ended in the middle of an answer" : ec.message();
}

}  // namespace

struct HttpClient::Impl {
  Impl(HttpClientOptions options_in, Address address_in)
      : options(std::move(options_in)),
        address(std::move(address_in)),
        tls(ssl::context::tls_client) {}

  HttpClientOptions options;
  Address address;
  ssl::context tls;
};

namespace {

/// One connection and one exchange over it.
class Exchange {
 public:
  Exchange(ssl::context& tls, const HttpClientOptions& options, const Address& address,
           std::function<bool()> tick)
      : options_(options),
        address_(address),
        tick_(std::move(tick)),
        resolver_(context_),
        stream_(context_, tls) {}

  Transported<HttpAnswer> run(const HttpCall& call,
                              const std::function<bool(std::string_view)>& data) {
    changes_ = call.method != "GET";
    if (auto connected = connect(); !connected) return connected.error();
    if (auto sent = sendCall(call); !sent) return sent.error();
    return receive(data);
  }

 private:
  enum class Ended { Done, TimedOut, Stopped };

  bool wantsOn() const { return !interrupted() && (!tick_ || tick_()); }

  /// Runs the operation that was started until `done`; beyond the limit it is given up.
  Ended wait(const bool& done, Duration limit) {
    const TimePoint until = clock_.now() + limit;
    while (!done) {
      const Duration left = until - clock_.now();
      const bool stop = left <= Duration::zero();
      if (stop || !wantsOn()) {
        error_code ignored;
        resolver_.cancel();
        stream_.lowest_layer().close(ignored);
        context_.restart();
        context_.run();
        return stop ? Ended::TimedOut : Ended::Stopped;
      }
      context_.restart();
      context_.run_one_for(std::min(left, kTick));
    }
    return Ended::Done;
  }

  TransportError unreachable(const std::string& why) const {
    return TransportError(Reached::Nothing, "cannot reach the engine at " + options_.server + ": " +
                                                why +
                                                "; check that it runs there and that --server "
                                                "is right");
  }

  Transported<void> connect() {
    bool done = false;
    error_code ec;
    tcp::resolver::results_type found;
    resolver_.async_resolve(address_.host, address_.port,
                            [&](error_code e, tcp::resolver::results_type results) {
                              done = true;
                              ec = e;
                              found = std::move(results);
                            });
    if (wait(done, options_.connect_timeout) != Ended::Done)
      return unreachable("no answer in time");
    if (ec) return unreachable(ec.message());
    done = false;
    asio::async_connect(stream_.lowest_layer(), found, [&](error_code e, const tcp::endpoint&) {
      done = true;
      ec = e;
    });
    if (wait(done, options_.connect_timeout) != Ended::Done)
      return unreachable("no answer in time");
    if (ec) return unreachable(ec.message());
    stream_.lowest_layer().set_option(tcp::no_delay(true), ec);
    return handshake();
  }

  Transported<void> handshake() {
    error_code ec;
    asio::ip::make_address(address_.host, ec);
    std::string name = address_.host;
    if (ec) {
      SSL_ctrl(stream_.native_handle(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
               name.data());
    }
    stream_.set_verify_mode(ssl::verify_peer, ec);
    stream_.set_verify_callback(ssl::host_name_verification(address_.host), ec);
    bool done = false;
    stream_.async_handshake(ssl::stream_base::client, [&](error_code e) {
      done = true;
      ec = e;
    });
    if (wait(done, options_.connect_timeout) != Ended::Done)
      return unreachable("no answer in time");
    if (!ec) return {};
    if (ec.message().find("certificate verify failed") != std::string::npos) {
      return TransportError(
          Reached::Nothing,
          "the certificate of " + options_.server + " is not trusted for '" + address_.host +
              "': " +
              X509_verify_cert_error_string(SSL_get_verify_result(stream_.native_handle())) +
              "; give the engine's authority with --ca and a name that the "
              "certificate holds with --server");
    }
    if (ec == asio::ssl::error::stream_truncated ||
        ec.message().find("wrong version") != std::string::npos) {
      return TransportError(Reached::Nothing, "what answers at " + options_.server +
                                                  " does not speak HTTPS; check the port of "
                                                  "--server");
    }
    return unreachable("TLS failed: " + ec.message());
  }

  TransportError broken(Ended ended, error_code ec) const {
    const std::string then =
        changes_ ? "it may have done what was asked, so look before trying again" : "try again";
    if (ended == Ended::TimedOut) {
      return TransportError(Reached::TimedOut, "the engine at " + options_.server +
                                                   " gave no answer in time; " + then);
    }
    return TransportError(Reached::Unknown, "the connection to the engine at " + options_.server +
                                                " broke: " + wordsOf(ec) + "; " + then);
  }

  Transported<void> sendCall(const HttpCall& call) {
    std::string text = call.method + " " + call.target + " HTTP/1.1\r\nHost: " + address_.host +
                       ":" + address_.port +
                       "\r\nUser-Agent: vmsctl/" VMS_VERSION "\r\nConnection: close\r\n";
    for (const auto& [name, value] : call.headers) {
      text.append(name).append(": ").append(value).append("\r\n");
    }
    if (!call.body.empty() || call.method == "POST" || call.method == "PATCH") {
      text += "Content-Length: " + std::to_string(call.body.size()) + "\r\n";
    }
    text += "\r\n" + call.body;
    bool done = false;
    error_code ec;
    asio::async_write(stream_, asio::buffer(text), [&](error_code e, std::size_t) {
      done = true;
      ec = e;
    });
    const Ended ended = wait(done, options_.read_timeout);
    // A server that refuses a body answers before it has read all of it.
    if (ended != Ended::Done) return broken(ended, ec);
    return {};
  }

  Transported<HttpAnswer> receive(const std::function<bool(std::string_view)>& data) {
    http::response_parser<http::buffer_body> parser;
    parser.body_limit(boost::none);
    beast::flat_buffer buffer;
    bool done = false;
    error_code ec;
    http::async_read_header(stream_, buffer, parser, [&](error_code e, std::size_t) {
      done = true;
      ec = e;
    });
    const Ended ended = wait(done, options_.read_timeout);
    if (ended == Ended::Stopped && !interrupted()) return HttpAnswer();
    if (ended != Ended::Done || ec) return broken(ended, ec);
    HttpAnswer answer;
    answer.status = static_cast<int>(parser.get().result_int());
    for (const auto& field : parser.get()) {
      answer.headers[lower(field.name_string())] = std::string(field.value());
    }
    const bool streaming = data && answer.status / 100 == 2;
    std::string piece(kPiece, '\0');
    while (!parser.is_done()) {
      parser.get().body().data = piece.data();
      parser.get().body().size = piece.size();
      done = false;
      http::async_read_some(stream_, buffer, parser, [&](error_code e, std::size_t) {
        done = true;
        ec = e == http::error::need_buffer ? error_code() : e;
      });
      const Ended part = wait(done, options_.read_timeout);
      if (part == Ended::Stopped && !interrupted()) return answer;
      if (part != Ended::Done || ec) return broken(part, ec);
      const std::string_view got(piece.data(), piece.size() - parser.get().body().size);
      if (streaming) {
        if (!got.empty() && !data(got)) return answer;
        continue;
      }
      answer.body += got;
      if (answer.body.size() > kAnswerBytes) {
        return TransportError(Reached::Unknown,
                              "the engine's answer is larger than 256 MiB; ask for "
                              "less");
      }
    }
    return answer;
  }

  const HttpClientOptions& options_;
  const Address& address_;
  std::function<bool()> tick_;
  bool changes_ = true;
  AsioClock clock_;
  asio::io_context context_{1};
  tcp::resolver resolver_;
  ssl::stream<tcp::socket> stream_;
};

}  // namespace

Outcome<HttpClient> HttpClient::open(HttpClientOptions options) {
  auto address = parseServer(options.server);
  if (!address) {
    const bool bare = options.server.find("://") == std::string::npos;
    const bool fits = bare && parseServer("https://" + options.server);
    const std::string meant = fits ? ", as https://" + options.server : std::string();
    return Failure(kExitUsage, "'" + options.server +
                                   "' is no address of an engine; give https://HOST:PORT" + meant);
  }
  auto impl = std::make_unique<Impl>(std::move(options), std::move(*address));
  SSL_CTX_set_min_proto_version(impl->tls.native_handle(), TLS1_2_VERSION);
  error_code ec;
  if (impl->options.ca_file.empty()) {
    impl->tls.set_default_verify_paths(ec);
  } else {
    impl->tls.load_verify_file(impl->options.ca_file, ec);
  }
  if (ec) {
    return Failure(kExitUsage, "CA file '" + impl->options.ca_file + "' cannot be used: " +
                                   ec.message() + "; give a readable PEM file with --ca");
  }
  return HttpClient(std::move(impl));
}

HttpClient::HttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;
HttpClient::~HttpClient() = default;

Transported<HttpAnswer> HttpClient::send(HttpCall call) {
  Exchange exchange(impl_->tls, impl_->options, impl_->address, nullptr);
  return exchange.run(call, nullptr);
}

Transported<HttpAnswer> HttpClient::stream(HttpCall call, StreamHandlers handlers) {
  Exchange exchange(impl_->tls, impl_->options, impl_->address, std::move(handlers.tick));
  return exchange.run(call, handlers.data);
}

const std::string& HttpClient::server() const { return impl_->options.server; }

}  // namespace vms::runner::ctl
