#include "runner/api/event_stream.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

#include "runner/api/auth.h"

namespace vms::runner::api {

void Bell::ring() {
  const std::lock_guard lock(mutex_);
  if (std::exchange(rung_, true)) return;
  asio::post(executor_, [self = shared_from_this()]() { self->wake_.cancel(); });
}

asio::awaitable<void> Bell::wait(Duration patience) {
  if (takeRing()) co_return;
  boost::system::error_code woken;
  wake_.expires_after(patience);
  co_await wake_.async_wait(asio::redirect_error(asio::use_awaitable, woken));
  takeRing();
}

bool Bell::takeRing() {
  const std::lock_guard lock(mutex_);
  return std::exchange(rung_, false);
}

TokenWatch::TokenWatch(const ApiContext* context, std::string authorization)
    : context_(context),
      authorization_(std::move(authorization)),
      checked_at_(context->clock.now()) {}

asio::awaitable<Result<void>> TokenWatch::check() {
  const TimePoint now = context_->clock.now();
  if (now < due()) co_return Result<void>();
  checked_at_ = now;
  const auto who =
      co_await context_->authenticator.authenticate(context_, authorization_, Role::Viewer);
  if (!who) co_return who.error();
  co_return Result<void>();
}

EventStream::EventStream(const ApiContext* context, ResponseStream* out, std::string authorization)
    : context_(context),
      out_(out),
      token_(context, std::move(authorization)),
      written_at_(context->clock.now()) {}

asio::awaitable<Result<void>> EventStream::write(std::string text) {
  const Result<void> written = co_await out_->write(std::move(text));
  written_at_ = context_->clock.now();
  co_return written;
}

Duration EventStream::patience() const {
  const TimePoint due = std::min(written_at_ + context_->keepalive, token_.due());
  return std::max(Duration{}, due - context_->clock.now());
}

asio::awaitable<Result<bool>> EventStream::tend() {
  const Result<void> counts = co_await token_.check();
  if (!counts) {
    // A failure to ask says nothing about the token.
    const ErrorClass error_class = counts.error().error_class;
    if (error_class != ErrorClass::Unauthenticated && error_class != ErrorClass::Forbidden) {
      co_return counts.error();
    }
    json::object why;
    why["detail"] = counts.error().message;
    why["error_class"] = std::string(nameOf(error_class));
    const Result<void> told =
        co_await write("event: closed\ndata: " + json::serialize(why) + "\n\n");
    if (!told) co_return told.error();
    co_return false;
  }
  if (context_->clock.now() - written_at_ >= context_->keepalive) {
    const Result<void> written = co_await write(": keepalive\n\n");
    if (!written) co_return written.error();
  }
  co_return true;
}

HttpHeaders eventStreamHeaders() {
  HttpHeaders headers;
  headers.emplace_back("Content-Type", "text/event-stream");
  headers.emplace_back("Cache-Control", "no-store");
  headers.emplace_back("X-Content-Type-Options", "nosniff");
  return headers;
}

}  // namespace vms::runner::api
