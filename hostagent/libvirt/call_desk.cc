#include "hostagent/libvirt/call_desk.h"

#include <boost/asio/error.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

namespace vms::hostagent {

std::shared_ptr<asio::steady_timer> CallDesk::open(std::uint64_t id, Duration timeout,
                                                   std::function<void(const CallEnd&)> on_end) {
  auto wake = std::make_shared<asio::steady_timer>(owner_);
  wake->expires_after(std::chrono::duration_cast<asio::steady_timer::duration>(timeout));
  calls_[id] = Open{wake, std::move(on_end)};
  return wake;
}

void CallDesk::ended(std::uint64_t id, const CallEnd& end) {
  const auto call = calls_.find(id);
  if (call == calls_.end()) return;
  const Open open = std::move(call->second);
  calls_.erase(call);
  if (on_every_end_) on_every_end_(end);
  if (open.on_end) open.on_end(end);
  open.wake->cancel();
}

asio::awaitable<void> CallDesk::wait(std::shared_ptr<asio::steady_timer> wake) {
  boost::system::error_code ignored;
  co_await wake->async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  const auto cancellation = co_await asio::this_coro::cancellation_state;
  if (cancellation.cancelled() != asio::cancellation_type::none) {
    throw boost::system::system_error(asio::error::operation_aborted);
  }
}

void CallDesk::shutDown() {
  closed_ = true;
  for (const auto& [id, call] : calls_) call.wake->cancel();
}

Error CallDesk::notAccepted(const std::string& what) const {
  return {ErrorClass::HostNotReady,
          closed_ ? "the agent is stopping; " + what + " was not begun"
                  : "too many calls wait for libvirt; " + what + " was not begun"};
}

Error CallDesk::notBegun(const std::string& what, Duration timeout) const {
  if (closed_) return notAccepted(what);
  return {ErrorClass::HostNotReady, "libvirt could not be reached within " +
                                        formatDuration(timeout) + "; " + what + " was not begun"};
}

Error CallDesk::notAnswered(const std::string& what, Duration timeout) const {
  if (closed_) {
    return {ErrorClass::UnknownOutcome, "the agent is stopping; " + what + " has no answer yet"};
  }
  return {ErrorClass::UnknownOutcome,
          "libvirt gave no answer to " + what + " within " + formatDuration(timeout)};
}

}  // namespace vms::hostagent
