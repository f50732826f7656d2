#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include "runner/service.h"
#include "schema/base/clock.h"
#include "schema/base/error.h"

namespace vms::runner::api {

namespace asio = boost::asio;

class Authenticator;
class RequestCounters;
class WrongTokens;

/// What handlers work with. Lives as long as the API.
struct ApiContext {
  Service& service;
  const Clock& clock;
  asio::any_io_executor engine;
  Authenticator& authenticator;
  Duration keepalive;
  std::function<std::string(const EngineFigures&)> metrics;
  RequestCounters& counters;
  /// Between two looks at the token of a stream.
  Duration token_check = seconds(5);
  WrongTokens* wrong_tokens = nullptr;  ///< Null: they are not counted.
};

/// Calls `make(service)`, which returns an awaitable of a Result, on the engine's executor and
/// resumes on the caller's. The call itself is never cancelled: a client that goes away does not
/// leave half an operation behind. Unavailable: the engine is stopping.
template <class Make>
std::invoke_result_t<Make&, Service&> onEngine(const ApiContext* context, Make make) {
  auto work = [service = &context->service, make = std::move(make)]() mutable {
    return make(*service);
  };
  try {
    co_return co_await asio::co_spawn(
        context->engine, std::move(work),
        asio::bind_cancellation_slot(asio::cancellation_slot(), asio::use_awaitable));
  } catch (const boost::system::system_error& e) {
    if (e.code() != asio::error::operation_aborted) throw;
  }
  co_return Error(ErrorClass::Unavailable, "the engine is stopping; try again soon");
}

}  // namespace vms::runner::api
