#include "runner/engine_daemon.h"

#include <utility>

#include "runner/engine.h"
#include "runner/engine_service.h"
#include "runner/host_sessions.h"
#include "runner/turn_loop.h"
#include "schema/base/counted.h"
#include "schema/base/log.h"
#include "schema/base/task_group.h"
#include "schema/base/wake.h"

namespace vms::runner {

struct EngineDaemon::Impl {
  Impl(const asio::any_io_executor& executor, EngineSeams seams, EngineOptions options)
      : store(seams.store),
        clock(seams.clock),
        engine(std::move(options), seams.rng),
        turns(executor, seams.clock, seams.store, engine,
              [this](Effects effects) { release(std::move(effects)); }),
        sessions(executor, seams.clock, seams.listener, engine, turns),
        service(executor, seams.clock, engine, seams.store, turns),
        group(executor),
        stop_wake(executor) {}

  void release(Effects effects) {
    sessions.release(effects);
    service.release(effects);
  }

  Store& store;
  Clock& clock;
  Engine engine;
  TurnLoop turns;
  HostSessions sessions;
  EngineService service;
  TaskGroup group;
  Wake stop_wake;
  bool stopping = false;
};

EngineDaemon::EngineDaemon(asio::any_io_executor executor, EngineSeams seams, EngineOptions options)
    : impl_(std::make_unique<Impl>(executor, seams, std::move(options))) {}

EngineDaemon::~EngineDaemon() = default;

Result<void> EngineDaemon::load() {
  Result<Snapshot> snapshot = impl_->store.load();
  if (!snapshot) return snapshot.error();
  const Marks marks = snapshot->marks;
  const std::size_t vms = snapshot->vms.size(), runs = snapshot->runs.size();
  impl_->engine.restore(std::move(*snapshot), impl_->turns.now());
  log::info("store {}: term {}, commit {}, {}, {}", marks.store_id.str(), marks.term.value,
            marks.commit.value, counted(vms, "VM"), counted(runs, "recent run"));
  if (const Result<void> start = impl_->engine.mayStart(); !start) {
    log::warn("{}", start.error().message);
  }
  return {};
}

asio::awaitable<void> EngineDaemon::run() {
  Impl& impl = *impl_;
  TaskGroup& group = impl.group;
  bool turns_over = false;
  group.spawn("turns", [&impl, &turns_over]() -> asio::awaitable<void> {
    co_await impl.turns.run();
    turns_over = true;
    impl.stop_wake.notify();
  });
  group.spawn("host sessions", [&impl] { return impl.sessions.run(); });
  while (!impl.stopping) co_await impl.stop_wake.wait();
  impl.service.stop();
  impl.sessions.stop();
  // Sessions that end are state, too: the last turn makes it durable.
  impl.turns.stop();
  while (!turns_over) co_await impl.stop_wake.wait();
  group.cancel();
  co_await group.join();
}

void EngineDaemon::stop() {
  impl_->stopping = true;
  impl_->stop_wake.notify();
}

Service& EngineDaemon::service() { return impl_->service; }

}  // namespace vms::runner
