#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace boost::asio {
class io_context;
}  // namespace boost::asio

namespace vms {

/// A small pool of threads for socket work: TLS, framing and compression of many connections, so
/// that a daemon's owner thread only sees whole messages.
///
/// What runs here never touches the owner's state; each connection has its own strand. Listeners,
/// dialers and connections may be destroyed before or after the pool: after it they only report
/// Unavailable.
class IoThreads {
 public:
  /// `threads` >= 1; they are named after `name` (its first 15 bytes) and take no signals.
  IoThreads(std::string name, std::size_t threads);
  /// Ends everything that still runs here, then joins the threads. Never call it on one of them.
  ~IoThreads();
  IoThreads(const IoThreads&) = delete;
  IoThreads& operator=(const IoThreads&) = delete;

  boost::asio::io_context& context() noexcept;

 private:
  struct Pool;
  std::unique_ptr<Pool> pool_;
};

}  // namespace vms
