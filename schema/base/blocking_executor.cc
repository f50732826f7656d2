#include "schema/base/blocking_executor.h"

#include <pthread.h>

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "schema/base/check.h"

namespace vms {
namespace {

struct Job {
  enum class State { Waiting, Running, Withdrawn };

  std::function<void()> work;
  std::atomic<State> state = State::Waiting;
  /// Posts the caller's continuation to its executor. Set before the job is queued.
  std::function<void()> resume;

  bool moveTo(State next) {
    State expected = State::Waiting;
    return state.compare_exchange_strong(expected, next);
  }
};

}  // namespace

struct BlockingExecutor::Shared {
  std::string name;
  std::size_t max_queue = 0;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<Job>> jobs;
  bool stopping = false;
  std::vector<std::thread> threads;

  /// False when the queue is full.
  bool push(std::shared_ptr<Job> job) {
    {
      const std::lock_guard lock(mutex);
      VMS_CHECK(!stopping, "work handed to a blocking executor that is being destroyed");
      if (jobs.size() >= max_queue) return false;
      jobs.push_back(std::move(job));
    }
    changed.notify_one();
    return true;
  }

  /// False when the queue is full or nothing is taken any more.
  bool pushIfOpen(std::shared_ptr<Job> job) {
    {
      const std::lock_guard lock(mutex);
      if (stopping || jobs.size() >= max_queue) return false;
      jobs.push_back(std::move(job));
    }
    changed.notify_one();
    return true;
  }

  void serve() {
    for (;;) {
      std::shared_ptr<Job> job;
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [this] { return stopping || !jobs.empty(); });
        if (jobs.empty()) return;
        job = std::move(jobs.front());
        jobs.pop_front();
      }
      if (job->moveTo(Job::State::Running)) job->work();
      job->resume();
    }
  }
};

BlockingExecutor::BlockingExecutor(std::string name, std::size_t threads, std::size_t max_queue)
    : shared_(std::make_shared<Shared>()) {
  VMS_CHECK(threads > 0 && max_queue > 0, "a blocking executor needs a thread and a queue");
  shared_->name = name.substr(0, 15);
  shared_->max_queue = max_queue;
  // Signals belong to the main thread: the workers inherit a full mask.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (std::size_t i = 0; i < threads; ++i) {
    Shared* const shared = shared_.get();
    shared_->threads.emplace_back([shared] {
      pthread_setname_np(pthread_self(), shared->name.c_str());
      shared->serve();
    });
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

BlockingExecutor::~BlockingExecutor() {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stopping = true;
  }
  shared_->changed.notify_all();
  for (std::thread& thread : shared_->threads) thread.join();
}

bool BlockingExecutor::post(std::function<void()> work) {
  const auto job = std::make_shared<Job>();
  job->work = std::move(work);
  job->resume = [] {};
  return shared_->pushIfOpen(job);
}

std::size_t BlockingExecutor::queued() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->jobs.size();
}

asio::awaitable<Result<void>> BlockingExecutor::submit(std::function<void()> work) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  const auto job = std::make_shared<Job>();
  job->work = std::move(work);
  const auto shared = shared_;
  bool accepted = true;

  auto initiate = [executor, job, shared, &accepted](auto&& handler) {
    using Handler = std::decay_t<decltype(handler)>;
    const auto continuation = std::make_shared<Handler>(std::forward<decltype(handler)>(handler));
    auto slot = asio::get_associated_cancellation_slot(*continuation);
    // Tracked, so that the caller's loop does not run dry while only a worker is busy for it.
    const auto home = asio::prefer(executor, asio::execution::outstanding_work.tracked);
    const std::weak_ptr<Job> withdrawable = job;
    job->resume = [home, continuation]() mutable {
      asio::post(home, [continuation = std::move(continuation)]() mutable {
        asio::get_associated_cancellation_slot(*continuation).clear();
        Handler handler_now = std::move(*continuation);
        continuation.reset();
        std::move(handler_now)();
      });
    };
    if (slot.is_connected()) {
      slot.assign([withdrawable](asio::cancellation_type) {
        if (const auto waiting = withdrawable.lock()) waiting->moveTo(Job::State::Withdrawn);
      });
    }
    accepted = shared->push(job);
    if (!accepted) job->resume();
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<>&, void()>(std::move(initiate),
                                                                        asio::use_awaitable);
  const auto cancellation = co_await asio::this_coro::cancellation_state;
  if (cancellation.cancelled() != asio::cancellation_type::none) {
    throw boost::system::system_error(asio::error::operation_aborted);
  }
  if (!accepted) {
    co_return Error(ErrorClass::RateLimited, "the queue of thread '" + shared->name +
                                                 "' is full (" + std::to_string(shared->max_queue) +
                                                 " calls wait); try again later");
  }
  co_return Result<void>();
}

}  // namespace vms
