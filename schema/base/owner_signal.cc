#include "schema/base/owner_signal.h"

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

namespace vms {

struct OwnerSignal::State {
  std::mutex mutex;
  asio::any_io_executor owner;  ///< Empty once the object is gone: its context may follow it.
  std::weak_ptr<asio::steady_timer> sleepers;  ///< Locked on the owner's thread only.
  bool posted = false;
};

OwnerSignal::OwnerSignal(asio::any_io_executor owner)
    : sleepers_(std::make_shared<asio::steady_timer>(owner, asio::steady_timer::time_point::max())),
      state_(std::make_shared<State>()) {
  state_->owner = std::move(owner);
  state_->sleepers = sleepers_;
}

OwnerSignal::~OwnerSignal() {
  const std::lock_guard lock(state_->mutex);
  state_->owner = {};
}

void OwnerSignal::Remote::notify() const {
  if (!state_) return;
  // Posting under the lock keeps the destructor, and so the end of the owner's context, waiting.
  const std::lock_guard lock(state_->mutex);
  if (!state_->owner || state_->posted) return;
  state_->posted = true;
  asio::post(state_->owner, [state = state_] {
    {
      const std::lock_guard inner(state->mutex);
      state->posted = false;
    }
    if (const auto sleepers = state->sleepers.lock()) sleepers->cancel();
  });
}

void OwnerSignal::wake() { sleepers_->cancel(); }

asio::awaitable<void> OwnerSignal::wait() {
  boost::system::error_code woken;
  co_await sleepers_->async_wait(asio::redirect_error(asio::use_awaitable, woken));
  const auto cancellation = co_await asio::this_coro::cancellation_state;
  if (cancellation.cancelled() != asio::cancellation_type::none) {
    throw boost::system::system_error(asio::error::operation_aborted);
  }
}

}  // namespace vms
