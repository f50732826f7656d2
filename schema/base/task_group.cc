#include "schema/base/task_group.h"

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <list>
#include <utility>

#include "schema/base/check.h"

namespace vms {

struct TaskGroup::State {
  struct Child {
    std::string name;
    std::function<asio::awaitable<void>()> make;
    asio::cancellation_signal stop;
  };

  explicit State(asio::any_io_executor executor_in)
      : executor(std::move(executor_in)), empty(executor, asio::steady_timer::time_point::max()) {}

  asio::any_io_executor executor;
  std::list<std::shared_ptr<Child>> children;
  /// Never expires: cancelling it wakes those who wait in join().
  asio::steady_timer empty;
  bool cancelled = false;
};

namespace {

[[noreturn]] void childEscaped(const std::string& name, const std::string& what) {
  const std::string why = "task '" + name + "' let an exception escape: " + what;
  checkFailed("children handle their own failures", __FILE__, __LINE__, why.c_str());
}

/// Returns for a child that ended well or by cancellation; aborts for anything else.
void judge(const std::string& name, const std::exception_ptr& error) {
  if (!error) return;
  try {
    std::rethrow_exception(error);
  } catch (const boost::system::system_error& e) {
    if (e.code() != asio::error::operation_aborted) childEscaped(name, e.what());
  } catch (const std::exception& e) {
    childEscaped(name, e.what());
  } catch (...) {
    childEscaped(name, "not a std::exception");
  }
}

}  // namespace

TaskGroup::TaskGroup(asio::any_io_executor executor)
    : state_(std::make_shared<State>(std::move(executor))) {}

TaskGroup::~TaskGroup() = default;

void TaskGroup::spawn(std::string name, std::function<asio::awaitable<void>()> make) {
  if (state_->cancelled) return;
  const auto child = std::make_shared<State::Child>();
  child->name = std::move(name);
  child->make = std::move(make);
  const auto place = state_->children.insert(state_->children.end(), child);
  // The child keeps its callable, captures and signal in place until the completion below.
  asio::co_spawn(
      state_->executor, [child]() { return child->make(); },
      asio::bind_cancellation_slot(child->stop.slot(),
                                   [state = state_, place](const std::exception_ptr& error) {
                                     judge((*place)->name, error);
                                     state->children.erase(place);
                                     if (state->children.empty()) state->empty.cancel();
                                   }));
}

void TaskGroup::cancel() {
  state_->cancelled = true;
  // A child may end, and leave the list, inside emit().
  const auto children = state_->children;
  for (const auto& child : children) child->stop.emit(asio::cancellation_type::terminal);
}

asio::awaitable<void> TaskGroup::join() {
  const std::shared_ptr<State> state = state_;
  while (!state->children.empty()) {
    boost::system::error_code woken;
    co_await state->empty.async_wait(asio::redirect_error(asio::use_awaitable, woken));
    const auto cancellation = co_await asio::this_coro::cancellation_state;
    if (cancellation.cancelled() != asio::cancellation_type::none) {
      throw boost::system::system_error(asio::error::operation_aborted);
    }
  }
}

std::size_t TaskGroup::size() const { return state_->children.size(); }

}  // namespace vms
