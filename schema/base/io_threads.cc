#include "schema/base/io_threads.h"

#include <pthread.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <csignal>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "schema/base/check.h"

namespace vms {

namespace asio = boost::asio;

struct IoThreads::Pool {
  explicit Pool(std::size_t count)
      : context(static_cast<int>(count)), work(context.get_executor()) {}

  asio::io_context context;
  asio::executor_work_guard<asio::io_context::executor_type> work;
  std::vector<std::thread> threads;
};

namespace {

void runThread(asio::io_context& context, const std::string& name) {
  ::pthread_setname_np(::pthread_self(), name.c_str());
  try {
    context.run();
  } catch (const std::exception& e) {
    checkFailed("handlers let no exception escape", __FILE__, __LINE__, e.what());
  }
}

}  // namespace

IoThreads::IoThreads(std::string name, std::size_t threads)
    : pool_(std::make_unique<Pool>(threads)) {
  VMS_CHECK(threads > 0, "a pool without threads would never finish anything");
  name.resize(std::min<std::size_t>(name.size(), 15));
  // Threads inherit the mask: signals are for the daemon's main thread.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  for (std::size_t i = 0; i < threads; ++i) {
    pool_->threads.emplace_back([pool = pool_.get(), name] { runThread(pool->context, name); });
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

IoThreads::~IoThreads() {
  pool_->context.stop();
  for (std::thread& thread : pool_->threads) {
    VMS_CHECK(thread.get_id() != std::this_thread::get_id(), "a pool cannot join itself");
    thread.join();
  }
}

asio::io_context& IoThreads::context() noexcept { return pool_->context; }

}  // namespace vms
