#include "hostagent/libvirt/connection_pool.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "hostagent/libvirt/event_loop.h"

namespace vms::hostagent {
namespace {

constexpr std::size_t kWaitingMax = 4096;
constexpr std::chrono::milliseconds kEndPatience{300};

}  // namespace

bool PoolJob::withdraw() {
  Phase waiting = Phase::Waiting;
  return phase_.compare_exchange_strong(waiting, Phase::Withdrawn);
}

bool PoolJob::begin() {
  Phase waiting = Phase::Waiting;
  return phase_.compare_exchange_strong(waiting, Phase::Begun);
}

struct ConnectionPool::Shared {
  /// A place for one connection. Its mutex is held while the connection is opened or closed.
  struct Slot {
    std::mutex mutex;
    std::shared_ptr<VirtConnection> connection;
    std::atomic<bool> stale{false};
  };
  struct Worker {
    std::shared_ptr<Shared> shared;
    std::size_t number;
  };

  Shared(const char* name_in, std::size_t connections, std::size_t calls, Opener open_in)
      : name(name_in),
        open(std::move(open_in)),
        slots(connections),
        thread_max(connections * calls) {}

  static void runWorker(void* argument) {
    const std::unique_ptr<Worker> worker(static_cast<Worker*>(argument));
    worker->shared->work(worker->number);
  }

  /// Neighbouring threads use different connections, so that few calls spread over many.
  void work(std::size_t number) {
    Slot& slot = slots[number % slots.size()];
    while (const std::shared_ptr<PoolJob> job = next()) {
      Result<std::shared_ptr<VirtConnection>> connection = acquire(slot);
      if (!job->begin()) continue;
      if (connection) {
        job->run(**connection);
      } else {
        job->fail(connection.error());
      }
    }
    endThread();
  }

  std::shared_ptr<PoolJob> next() {
    std::unique_lock lock(mutex);
    ++idle;
    wake.wait(lock, [this] { return closed || !waiting.empty(); });
    --idle;
    if (closed) return nullptr;
    std::shared_ptr<PoolJob> job = std::move(waiting.front());
    waiting.pop_front();
    return job;
  }

  Result<std::shared_ptr<VirtConnection>> acquire(Slot& slot) {
    const std::lock_guard lock(slot.mutex);
    const bool stale = slot.stale.exchange(false);
    if (slot.connection && slot.connection->usable() && !stale) return slot.connection;
    slot.connection.reset();
    Result<std::shared_ptr<VirtConnection>> opened = open();
    if (opened) slot.connection = *opened;
    return opened;
  }

  void endThread() {
    bool last = false;
    {
      const std::lock_guard lock(mutex);
      last = --running == 0;
      if (last) closing = true;
    }
    if (!last) return;
    for (Slot& slot : slots) {
      const std::lock_guard lock(slot.mutex);
      slot.connection.reset();
    }
    const std::lock_guard lock(mutex);
    closing = false;
    ended.notify_all();
  }

  const char* name;
  const Opener open;
  std::vector<Slot> slots;
  const std::size_t thread_max;

  mutable std::mutex mutex;
  std::condition_variable wake;
  std::condition_variable ended;  ///< The last thread is done with its connections.
  std::deque<std::shared_ptr<PoolJob>> waiting;
  std::size_t started = 0;
  std::size_t running = 0;
  std::size_t idle = 0;
  bool closing = false;  ///< The last thread closes the connections.
  bool closed = false;
};

ConnectionPool::ConnectionPool(const char* name, std::size_t connections, std::size_t calls,
                               Opener open)
    : shared_(std::make_shared<Shared>(name, connections, calls, std::move(open))) {}

ConnectionPool::~ConnectionPool() {
  close();
  // A thread that hangs is left behind, but one that is about to end should not meet the end of the
  // process.
  std::unique_lock lock(shared_->mutex);
  shared_->ended.wait_for(lock, kEndPatience,
                          [this] { return shared_->running == 0 && !shared_->closing; });
}

bool ConnectionPool::submit(std::shared_ptr<PoolJob> job) {
  const std::shared_ptr<Shared>& s = shared_;
  const std::lock_guard lock(s->mutex);
  // While every thread hangs nobody takes out what was given up.
  if (s->waiting.size() >= kWaitingMax / 2) {
    std::erase_if(s->waiting, [](const auto& waiting) { return waiting->withdrawn(); });
  }
  if (s->closed || s->waiting.size() >= kWaitingMax) return false;
  s->waiting.push_back(std::move(job));
  if (s->idle >= s->waiting.size() || s->started >= s->thread_max) {
    s->wake.notify_one();
    return true;
  }
  auto worker = std::make_unique<Shared::Worker>(Shared::Worker{s, s->started});
  startDetachedThread(s->name, Shared::runWorker, worker.get());
  static_cast<void>(worker.release());
  ++s->started;
  ++s->running;
  return true;
}

void ConnectionPool::renewConnections() {
  for (Shared::Slot& slot : shared_->slots) slot.stale = true;
}

void ConnectionPool::close() {
  const std::lock_guard lock(shared_->mutex);
  shared_->closed = true;
  shared_->waiting.clear();
  shared_->wake.notify_all();
}

std::size_t ConnectionPool::threads() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->running + (shared_->closing ? 1 : 0);
}

}  // namespace vms::hostagent
