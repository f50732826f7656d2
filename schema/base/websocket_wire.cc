// The only translation unit of this library with Beast's WebSocket over TLS.
#include "schema/base/websocket_wire.h"

#include <openssl/ssl.h>

#include <boost/asio/ssl/context.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <utility>

#include "schema/base/websocket_wire_base.h"

namespace vms {
namespace wire {
namespace {

class ServerWire final : public WebSocketWire {
 public:
  using WebSocketWire::WebSocketWire;

 private:
  void shakeHands() override {
    tls().async_handshake(asio::ssl::stream_base::server, resume(&ServerWire::onTls));
  }

  void onTls(const error_code& error) {
    if (!handshaking()) return;
    if (error) {
      std::string reason = verify_failure_;
      if (reason.empty()) {
        const TlsFailure failure = explain(error);
        reason = failure.our_certificate_refused ? "it refused our certificate: " + failure.text
                                                 : failure.text;
      }
      return refuseGently(ErrorClass::Unauthenticated, reason);
    }
    const X509* const certificate = SSL_get0_peer_certificate(tls().native_handle());
    if (certificate == nullptr) {
      return refuse(ErrorClass::Unauthenticated, "the peer has no client certificate");
    }
    auto name = commonNameOf(certificate);
    if (!name) return refuseGently(ErrorClass::Unauthenticated, name.error().message);
    peer_ = PeerIdentity{*name, options_.peer_address};
    parser_.header_limit(kMaxRequestBytes);
    http::async_read(tls(), buffer_, parser_, resume(&ServerWire::onRequest));
  }

  void onRequest(const error_code& error, std::size_t) {
    if (!handshaking()) return;
    if (error) {
      return refuseGently(
          ErrorClass::Unavailable,
          "'" + peer_.common_name + "' sent no usable request: " + explain(error).text);
    }
    const auto& request = parser_.get();
    if (request.target() != kAgentPath) {
      return answer(http::status::not_found, "only /agent is served here");
    }
    const bool speaks_ours =
        http::token_list(request[http::field::sec_websocket_protocol]).exists(kAgentSubprotocol);
    if (!websocket::is_upgrade(request) || !speaks_ours || buffer_.size() != 0) {
      return answer(http::status::upgrade_required, "only agents of this version are served here");
    }
    ws_.set_option(websocket::stream_base::decorator([](websocket::response_type& response) {
      response.set(http::field::sec_websocket_protocol, kAgentSubprotocol);
    }));
    ws_.async_accept(request, resume(&ServerWire::onAccepted));
  }

  void answer(http::status status, const char* why) {
    response_.result(status);
    response_.version(11);
    response_.keep_alive(false);
    response_.set(http::field::content_type, "text/plain");
    response_.body() = std::string(why) + "\n";
    response_.prepare_payload();
    refusal_ = "'" + peer_.common_name + "' asked for something else: " + why;
    http::async_write(tls(), response_, resume(&ServerWire::onAnswered));
  }
  void onAnswered(const error_code&, std::size_t) {
    if (handshaking()) refuseGently(ErrorClass::Invalid, refusal_);
  }

  void onAccepted(const error_code& error) {
    if (!handshaking()) return;
    if (error) {
      return refuseGently(ErrorClass::Invalid,
                          "'" + peer_.common_name + "' sent no usable request: " + error.message());
    }
    const std::string label = peer_.common_name + " (" + peer_.address + ")";
    open(peer_, label);
  }

  PeerIdentity peer_;
  http::request_parser<http::empty_body> parser_;
  http::response<http::string_body> response_;
  std::string refusal_;
};

class ClientWire final : public WebSocketWire {
 public:
  ClientWire(PoolSocket socket, asio::ssl::context& tls, WireOptions options,
             std::string server_name, std::string certificate)
      : WebSocketWire(std::move(socket), tls, std::move(options)),
        server_name_(std::move(server_name)),
        certificate_(std::move(certificate)) {}

 private:
  std::string engine() const { return "engine at " + options_.peer_address; }

  void shakeHands() override {
    if (auto set = expectServerName(tls().native_handle(), server_name_); !set) {
      return refuse(set.error().error_class, set.error().message);
    }
    tls().async_handshake(asio::ssl::stream_base::client, resume(&ClientWire::onTls));
  }

  /// With TLS 1.3 the engine judges our certificate after our own handshake is over, so that its
  /// refusal may come with the answer to the upgrade.
  void refuseBecause(const error_code& error, const std::string& during) {
    if (!verify_failure_.empty()) {
      return refuseGently(ErrorClass::Unauthenticated,
                          "we refuse the " + engine() + ": " + verify_failure_);
    }
    const TlsFailure failure = explain(error);
    if (failure.our_certificate_refused) {
      return refuse(ErrorClass::Unauthenticated,
                    engine() + " refused our certificate " +
                        describeOurs(tls().native_handle(), certificate_) + ": " + failure.text +
                        "; issue one from the engine's CA with 'vmsctl pki issue --host'");
    }
    refuse(ErrorClass::Unavailable, "no connection to the " + engine() + ": " + failure.text +
                                        " during the " + during +
                                        "; is this the agent port of a vmsrunnerd?");
  }

  void onTls(const error_code& error) {
    if (!handshaking()) return;
    if (error) return refuseBecause(error, "TLS handshake");
    ws_.set_option(websocket::stream_base::decorator([](websocket::request_type& request) {
      request.set(http::field::sec_websocket_protocol, kAgentSubprotocol);
    }));
    ws_.async_handshake(response_, options_.peer_address, kAgentPath,
                        resume(&ClientWire::onUpgraded));
  }

  void onUpgraded(const error_code& error) {
    if (!handshaking()) return;
    if (error == websocket::error::upgrade_declined) {
      return refuse(ErrorClass::Unavailable,
                    engine() + " answered " + std::to_string(response_.result_int()) +
                        " to an agent; is this the agent port of a vmsrunnerd of this version?");
    }
    if (error) return refuseBecause(error, "upgrade");
    if (response_[http::field::sec_websocket_protocol] != kAgentSubprotocol) {
      return refuse(ErrorClass::Unavailable,
                    engine() + " speaks another protocol; is it a vmsrunnerd of this version?");
    }
    const X509* const certificate = SSL_get0_peer_certificate(tls().native_handle());
    auto name = commonNameOf(certificate);
    open(PeerIdentity{name ? *name : server_name_, options_.peer_address}, engine());
  }

  const std::string server_name_;
  const std::string certificate_;
  websocket::response_type response_;
};

}  // namespace
}  // namespace wire

std::weak_ptr<Wire> startServerWire(PoolSocket socket, WireOptions options) {
  asio::ssl::context tls = wire::shareContext(options.tls);
  const auto started =
      std::make_shared<wire::ServerWire>(std::move(socket), tls, std::move(options));
  started->start();
  return started;
}

std::weak_ptr<Wire> startClientWire(PoolSocket socket, WireOptions options, std::string server_name,
                                    std::string certificate) {
  asio::ssl::context tls = wire::shareContext(options.tls);
  const auto started = std::make_shared<wire::ClientWire>(
      std::move(socket), tls, std::move(options), std::move(server_name), std::move(certificate));
  started->start();
  return started;
}

}  // namespace vms
