#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "schema/base/error.h"
#include "schema/base/io_threads.h"
#include "schema/base/message_pipe.h"
#include "schema/base/time.h"
#include "schema/base/tls_context.h"
#include "schema/base/transport.h"

namespace vms {

struct ListenOptions {
  std::string address;  ///< "HOST:PORT"; port 0 takes a free one.
  TlsFiles tls;         ///< With a CA: clients prove themselves too.
  PipeLimits limits;
  /// For everything from TCP to the upgrade. Shorter while all `max_handshakes` are taken, so that
  /// clients that stall do not keep others out.
  Duration handshake_timeout = seconds(10);
  /// A peer from which nothing is heard, or to which nothing can be written, for this long is cut;
  /// it is pinged after half of it. A peer that does not read its own queue counts as silent.
  Duration dead_after = seconds(10);
  std::size_t compress_from_bytes = 4096;  ///< Smaller messages go as they are; 0: all do.
  std::size_t max_connections = 20000;
  std::size_t max_handshakes = 256;  ///< Under way, or done and not yet accept()ed.
};

/// WebSocket over TLS 1.3 with client certificates. Refusals are logged with peer and reason, ten
/// lines a second at most. After close() the port is free as soon as the pool has got to it.
class WebSocketListener : public Listener {
 public:
  /// The address bound, with the real port.
  virtual std::string boundAddress() const = 0;
  /// Reads the files again, for connections from now on, and cuts those whose peer was revoked or
  /// whose CA is not trusted any more. On failure everything stays as it was.
  virtual Result<void> reload() = 0;
};

/// Binds at once; connections are accepted by `threads` from now on and used on `owner`, which must
/// be one thread or a strand. Invalid: address or certificates; Unavailable: the address cannot be
/// bound.
Result<std::unique_ptr<WebSocketListener>> listenWebSocket(asio::any_io_executor owner,
                                                           IoThreads& threads,
                                                           ListenOptions options);

struct DialOptions {
  std::string address;  ///< "HOST:PORT" of the engine; a name is resolved at each connect().
  /// Certificate, key and CA are needed. Read at each connect(), so that new ones need no reload;
  /// when they cannot be used, those of the last time are, with a warning.
  TlsFiles tls;
  std::string server_name;  ///< What the engine's certificate must be for; empty: HOST.
  PipeLimits limits = engineLimits();
  Duration connect_timeout = seconds(10);  ///< From resolving to the upgrade.
  Duration dead_after = seconds(10);       ///< As in ListenOptions.
  std::size_t compress_from_bytes = 4096;  ///< As in ListenOptions.

  /// The other way round from an engine's: commands may be larger than reports.
  static PipeLimits engineLimits() {
    PipeLimits limits;
    std::swap(limits.max_receive_bytes, limits.max_send_bytes);
    return limits;
  }
};

/// A dialer for `address`; options are checked at connect(). Use it on `owner` only.
std::unique_ptr<Dialer> makeWebSocketDialer(asio::any_io_executor owner, IoThreads& threads,
                                            DialOptions options);

}  // namespace vms
