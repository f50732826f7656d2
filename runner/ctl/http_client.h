#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/ctl/outcome.h"
#include "schema/base/time.h"

namespace vms::runner::ctl {

struct HttpClientOptions {
  std::string server;   ///< https://HOST[:PORT]; without a port 8443.
  std::string ca_file;  ///< PEM; empty: the system's authorities.
  Duration connect_timeout = seconds(5);
  Duration read_timeout = seconds(60);  ///< Without a byte.
};

struct HttpCall {
  std::string method;
  std::string target;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

struct HttpAnswer {
  int status = 0;
  std::map<std::string, std::string> headers;  ///< Lower-case names.
  std::string body;
};

/// How far a call got that has no answer.
enum class Reached {
  Nothing,   ///< Nothing was sent.
  Unknown,   ///< Sent at least in part: it may or may not have been executed.
  TimedOut,  ///< As Unknown; no byte came for the read time-out.
};

struct TransportError {
  Reached reached = Reached::Nothing;
  std::string message;  ///< What is wrong; what to do.

  TransportError() = default;
  TransportError(Reached reached_in, std::string message_in)
      : reached(reached_in), message(std::move(message_in)) {}
};

template <class T>
using Transported = boost::system::result<T, TransportError>;

/// HTTPS with blocking calls, one connection per call; an interrupt ends a call. The server must
/// prove its name to an authority in `ca_file`.
class HttpClient {
 public:
  /// Usage: the address is wrong or the CA file cannot be read.
  static Outcome<HttpClient> open(HttpClientOptions options);

  HttpClient(HttpClient&&) noexcept;
  HttpClient& operator=(HttpClient&&) noexcept;
  ~HttpClient();

  Transported<HttpAnswer> send(HttpCall call);

  struct StreamHandlers {
    /// A piece of the body; false ends the call.
    std::function<bool(std::string_view)> data;
    /// Ten times a second, also while nothing comes; false ends the call.
    std::function<bool()> tick;
  };
  /// Hands out the body of a 2xx answer piece by piece; any other answer is returned whole.
  Transported<HttpAnswer> stream(HttpCall call, StreamHandlers handlers);

  /// The server as a person knows it.
  const std::string& server() const;

 private:
  struct Impl;
  explicit HttpClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vms::runner::ctl
