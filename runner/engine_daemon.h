#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <memory>

#include "runner/engine_options.h"
#include "runner/service.h"
#include "runner/store.h"
#include "schema/base/clock.h"
#include "schema/base/faults.h"
#include "schema/base/rng.h"
#include "schema/base/transport.h"

namespace vms::runner {

struct EngineSeams {
  Clock& clock;
  Store& store;
  Listener& listener;
  Rng& rng;
  Faults& faults;
};

/// The engine as a process: loads the store, serves agents over the listener, commits what each
/// turn of the engine changed and only then lets its effects out (S13).
///
/// One executor, which must run on one thread: everything here happens on it. The seams are
/// borrowed and outlive this object.
class EngineDaemon {
 public:
  EngineDaemon(asio::any_io_executor executor, EngineSeams seams, EngineOptions options);
  ~EngineDaemon();
  EngineDaemon(const EngineDaemon&) = delete;
  EngineDaemon& operator=(const EngineDaemon&) = delete;

  /// Loads the store; an error means that nothing was started. Blocking; call before `run()`.
  Result<void> load();

  /// Serves until `stop()`; returns after every child has ended and the last commit is durable.
  asio::awaitable<void> run();

  /// Asks `run()` to end: no new sessions or work; what is committed is delivered. Idempotent.
  void stop();

  /// The operations for clients. Valid as long as this object; before `load()` nothing may be
  /// called.
  Service& service();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vms::runner
