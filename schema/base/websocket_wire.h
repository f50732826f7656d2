#pragma once

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/strand.hpp>
#include <functional>
#include <memory>
#include <string>

#include "schema/base/error.h"
#include "schema/base/message_pipe.h"
#include "schema/base/time.h"
#include "schema/base/tls_context.h"
#include "schema/base/transport.h"

namespace vms {

/// What an agent asks for when it dials, and the only thing the engine serves there.
inline constexpr char kAgentPath[] = "/agent";
inline constexpr char kAgentSubprotocol[] = "vmsrunner.agent.v1";

using PoolExecutor = asio::strand<asio::io_context::executor_type>;
using PoolSocket = asio::basic_stream_socket<asio::ip::tcp, PoolExecutor>;

/// A connection whose handshakes are done.
struct OpenedWire {
  PeerIdentity peer;
  std::shared_ptr<MessagePipe> pipe;
};

struct WireOptions {
  TlsContext tls;
  PipeLimits limits;
  Duration handshake_timeout{};
  Duration dead_after{};
  std::size_t compress_from_bytes = 0;
  std::string peer_address;  ///< For logs and errors.
  /// Called once, on the socket's strand, unless the pool ends before.
  std::function<void(Result<OpenedWire>)> done;
  /// Called once when the wire is gone, on whatever thread it ends.
  std::function<void()> gone;
};

/// TLS, HTTP upgrade, framing, compression and liveness of one socket, on its strand. It lives as
/// long as it has work under way; nobody else owns it.
class Wire {
 public:
  virtual ~Wire() = default;
  /// Ends the handshake if it is still under way. From any thread.
  virtual void abortHandshake() = 0;
  /// Cuts the connection if `tls` would not let its peer in; see stillTrusted(). Nothing while the
  /// handshake is under way. From any thread.
  virtual void checkPeer(TlsContext tls) = 0;
};

/// Takes a connected socket through the server's side.
std::weak_ptr<Wire> startServerWire(PoolSocket socket, WireOptions options);

/// Takes a connected socket through the client's side; the peer must be `server_name`.
/// `certificate` is ours, to be named when it is refused.
std::weak_ptr<Wire> startClientWire(PoolSocket socket, WireOptions options, std::string server_name,
                                    std::string certificate);

}  // namespace vms
