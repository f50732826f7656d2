#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "hostagent/libvirt/virt_connection.h"
#include "schema/base/error.h"

namespace vms::hostagent {

/// One blocking call for a pool. Exactly one of run() and fail() is called, on a thread of the
/// pool, unless it was withdrawn or the pool closed before.
class PoolJob {
 public:
  virtual ~PoolJob() = default;
  virtual void run(VirtConnection& connection) = 0;
  /// Nothing was done: there is no connection.
  virtual void fail(Error error) = 0;

  /// Makes sure that the job never runs; false: it runs or has run. From any thread.
  bool withdraw();
  /// For the pool: true once, unless it was withdrawn.
  bool begin();
  bool withdrawn() const { return phase_.load() == Phase::Withdrawn; }

 private:
  enum class Phase { Waiting, Begun, Withdrawn };
  std::atomic<Phase> phase_{Phase::Waiting};
};

/// Threads and connections for one kind of call. Each connection serves at most `calls` at once;
/// both are made when they are needed. A thread that hangs in a call, or in opening a connection,
/// holds nothing but the pool's own state, so the pool can be closed and left behind.
class ConnectionPool {
 public:
  using Opener = std::function<Result<std::shared_ptr<VirtConnection>>()>;

  /// `name`: of the threads, at most 15 bytes. `open` is called on threads of the pool.
  ConnectionPool(const char* name, std::size_t connections, std::size_t calls, Opener open);
  /// Closes it.
  ~ConnectionPool();
  ConnectionPool(const ConnectionPool&) = delete;
  ConnectionPool& operator=(const ConnectionPool&) = delete;

  /// False: closed, or too many wait. From any thread.
  bool submit(std::shared_ptr<PoolJob> job);
  /// The next call on every connection opens it anew; what is under way goes on.
  void renewConnections();
  /// Drops what waits; threads end after their present call and close the connections. Idempotent.
  void close();
  /// Threads that have not ended.
  std::size_t threads() const;

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace vms::hostagent
