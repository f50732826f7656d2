#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "hostagent/libvirt/connection_pool.h"
#include "hostagent/libvirt/mailbox.h"
#include "schema/base/error.h"
#include "schema/base/time.h"

namespace vms::hostagent {

namespace asio = boost::asio;

/// How a call that had begun came back from its thread.
struct CallEnd {
  bool reached = false;  ///< libvirt answered, be it with an error.
  bool lost = false;     ///< The connection broke under it; `why` says how.
  std::string why;
  std::uint64_t serial = 0;  ///< Of the connection; 0: there was none.
  std::optional<DaemonInstance> daemon;
};

/// Lets the owner's coroutines await blocking calls, with a time-out that never waits for the
/// thread. Lives on the owner's executor and must be destroyed before its execution context.
class CallDesk {
 public:
  CallDesk(asio::any_io_executor owner, std::shared_ptr<Mailbox> mailbox)
      : owner_(std::move(owner)),
        mailbox_(std::move(mailbox)),
        self_(std::make_shared<CallDesk*>(this)) {}
  CallDesk(const CallDesk&) = delete;
  CallDesk& operator=(const CallDesk&) = delete;

  /// Called on the owner for every call that came back, awaited still or not.
  void onEnd(std::function<void(const CallEnd&)> on_end) { on_every_end_ = std::move(on_end); }

  /// Runs `work` in `pool`. HostNotReady: it was not begun, nothing was done. UnknownOutcome: it
  /// was, and gave no answer within `timeout` or before shutDown(), or lost its connection.
  /// `on_end` (may be empty) is called on the owner when the thread is done with it, however late;
  /// never when the call was not begun.
  template <class T>
  asio::awaitable<Result<T>> ask(ConnectionPool& pool, Duration timeout, std::string what,
                                 std::function<Result<T>(VirtConnection&)> work,
                                 std::function<void(const CallEnd&)> on_end = {}) {
    const auto answer = std::make_shared<std::optional<Result<T>>>();
    const std::uint64_t id = ++last_id_;
    const auto job = std::make_shared<Job<T>>(std::move(work), answer, mailbox_,
                                              std::weak_ptr<CallDesk*>(self_), id);
    const bool accepted = !closed_ && pool.submit(job);
    if (!accepted) co_return notAccepted(what);
    const std::shared_ptr<asio::steady_timer> wake = open(id, timeout, std::move(on_end));
    co_await wait(wake);
    if (*answer) co_return std::move(**answer);
    const bool withdrawn = job->withdraw();
    if (withdrawn) calls_.erase(id);
    co_return withdrawn ? notBegun(what, timeout) : notAnswered(what, timeout);
  }

  /// Every awaited call returns now, and so do later ones.
  void shutDown();

 private:
  struct Open {
    std::shared_ptr<asio::steady_timer> wake;
    std::function<void(const CallEnd&)> on_end;
  };

  template <class T>
  class Job final : public PoolJob {
   public:
    Job(std::function<Result<T>(VirtConnection&)> work,
        std::shared_ptr<std::optional<Result<T>>> answer, std::shared_ptr<Mailbox> mailbox,
        std::weak_ptr<CallDesk*> desk, std::uint64_t id)
        : work_(std::move(work)),
          answer_(std::move(answer)),
          mailbox_(std::move(mailbox)),
          desk_(std::move(desk)),
          id_(id) {}

    void run(VirtConnection& connection) override {
      Result<T> result = work_(connection);
      CallEnd end;
      end.lost = !result && result.error().error_class == ErrorClass::UnknownOutcome;
      end.reached = !end.lost && connection.usable();
      if (end.lost) end.why = result.error().message;
      end.serial = connection.serial();
      end.daemon = connection.daemon();
      finish(std::move(result), end);
    }
    void fail(Error error) override { finish(std::move(error), CallEnd()); }

   private:
    void finish(Result<T> result, CallEnd end) {
      mailbox_->post([answer = answer_, desk = desk_, id = id_, end, result = std::move(result)] {
        *answer = result;
        if (const auto alive = desk.lock()) (*alive)->ended(id, end);
      });
    }

    std::function<Result<T>(VirtConnection&)> work_;
    std::shared_ptr<std::optional<Result<T>>> answer_;
    std::shared_ptr<Mailbox> mailbox_;
    std::weak_ptr<CallDesk*> desk_;
    std::uint64_t id_;
  };

  std::shared_ptr<asio::steady_timer> open(std::uint64_t id, Duration timeout,
                                           std::function<void(const CallEnd&)> on_end);
  void ended(std::uint64_t id, const CallEnd& end);
  static asio::awaitable<void> wait(std::shared_ptr<asio::steady_timer> wake);
  Error notAccepted(const std::string& what) const;
  Error notBegun(const std::string& what, Duration timeout) const;
  Error notAnswered(const std::string& what, Duration timeout) const;

  asio::any_io_executor owner_;
  std::shared_ptr<Mailbox> mailbox_;
  std::function<void(const CallEnd&)> on_every_end_;
  std::unordered_map<std::uint64_t, Open> calls_;
  std::uint64_t last_id_ = 0;
  bool closed_ = false;
  std::shared_ptr<CallDesk*> self_;  ///< What late answers hold weakly.
};

}  // namespace vms::hostagent
