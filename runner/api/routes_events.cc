#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/json/serialize.hpp>
#include <mutex>
#include <optional>
#include <utility>

#include "runner/api/event_stream.h"
#include "runner/api/routes.h"
#include "runner/api/views.h"
#include "schema/base/task_group.h"

/// GET /v1/requests/{id}/events: a snapshot, then what changed (S26).
namespace vms::runner::api {
namespace {

using NextEvent = Result<RequestEvent>;

/// Holds the newest event that the client has not got yet, so a slow client skips states and the
/// engine never waits for it. `put` from the engine's executor, the rest on the connection's.
class Mailbox {
 public:
  explicit Mailbox(const asio::any_io_executor& executor)
      : bell_(std::make_shared<Bell>(executor)) {}

  void put(NextEvent event) {
    {
      const std::lock_guard lock(mutex_);
      newest_.emplace(std::move(event));
    }
    bell_->ring();
  }

  /// The newest event, or nothing when `patience` passed without one.
  asio::awaitable<std::optional<NextEvent>> take(Duration patience) {
    std::optional<NextEvent> event = poll();
    if (event) co_return event;
    co_await bell_->wait(patience);
    co_return poll();
  }

 private:
  std::optional<NextEvent> poll() {
    const std::lock_guard lock(mutex_);
    return std::exchange(newest_, std::nullopt);
  }

  const std::shared_ptr<Bell> bell_;
  std::mutex mutex_;
  std::optional<NextEvent> newest_;
};

/// Reads a watch on the engine's executor into a mailbox until the watch ends or is stopped.
class Pump {
 public:
  Pump(asio::any_io_executor engine, std::shared_ptr<RequestWatch> watch,
       std::shared_ptr<Mailbox> mailbox)
      : tasks_(std::move(engine)), watch_(std::move(watch)), mailbox_(std::move(mailbox)) {}

  /// On the engine's executor, as `stop`.
  void start() {
    tasks_.spawn("request watch",
                 [watch = watch_, mailbox = mailbox_]() { return run(watch, mailbox); });
  }
  asio::awaitable<Result<void>> stop() {
    tasks_.cancel();
    co_await tasks_.join();
    watch_.reset();
    co_return Result<void>();
  }

 private:
  static asio::awaitable<void> run(std::shared_ptr<RequestWatch> watch,
                                   std::shared_ptr<Mailbox> mailbox) {
    bool more = true;
    while (more) {
      NextEvent event = co_await watch->next();
      more = event.has_value() && event->view.state == "active";
      mailbox->put(std::move(event));
    }
  }

  TaskGroup tasks_;
  std::shared_ptr<RequestWatch> watch_;
  std::shared_ptr<Mailbox> mailbox_;
};

/// Turns views into events: the first of a generation whole, later ones as the members that differ.
class Differ {
 public:
  std::string next(const RequestEvent& event) {
    json::object now = requestJson(event.view);
    const bool whole = !generation_ || *generation_ != event.generation;
    std::string text;
    if (generation_ && whole) text = "event: reset\ndata: {}\n\n";
    json::object changed;
    if (whole) {
      changed = now;
    } else {
      changed["request_id"] = now["request_id"];
      for (const auto& [key, value] : now) {
        const json::value* before = last_.if_contains(key);
        if (before == nullptr || *before != value) changed[key] = value;
      }
    }
    generation_ = event.generation;
    last_ = std::move(now);
    return text + "id: " + std::to_string(event.generation) + "-" +
           std::to_string(event.commit.value) + "\nevent: " + (whole ? "snapshot" : "delta") +
           "\ndata: " + json::serialize(changed) + "\n\n";
  }

 private:
  std::optional<std::uint64_t> generation_;
  json::object last_;
};

asio::awaitable<Result<void>> writeEvents(EventStream* events, std::shared_ptr<Mailbox> mailbox) {
  Differ differ;
  for (;;) {
    const std::optional<NextEvent> event = co_await mailbox->take(events->patience());
    std::string text;
    bool last = false;
    if (event && *event) {
      text = differ.next(**event);
      last = (*event)->view.state != "active";
    } else if (event) {
      if (event->error().error_class != ErrorClass::NotFound) co_return event->error();
      text = "event: gone\ndata: {}\n\n";
      last = true;
    }
    if (!text.empty()) {
      const Result<void> written = co_await events->write(std::move(text));
      if (!written || last) co_return written;
    }
    const Result<bool> goes_on = co_await events->tend();
    if (!goes_on) co_return goes_on.error();
    if (!*goes_on) co_return Result<void>();
  }
}

asio::awaitable<Result<void>> produce(const ApiContext* context,
                                      std::shared_ptr<RequestWatch> watch,
                                      std::string authorization, ResponseStream* out) {
  EventStream events(context, out, std::move(authorization));
  auto mailbox = std::make_shared<Mailbox>(co_await asio::this_coro::executor);
  auto pump = std::make_shared<Pump>(context->engine, std::move(watch), mailbox);
  auto start = [pump](Service&) -> asio::awaitable<Result<void>> {
    pump->start();
    co_return Result<void>();
  };
  (void)co_await onEngine(context, std::move(start));
  std::exception_ptr stopped;
  Result<void> done;
  try {
    done = co_await writeEvents(&events, std::move(mailbox));
  } catch (...) {
    stopped = std::current_exception();
  }
  // The pump ends before us, also when we are being cancelled.
  co_await asio::this_coro::throw_if_cancelled(false);
  auto stop = [pump](Service&) { return pump->stop(); };
  (void)co_await onEngine(context, std::move(stop));
  if (stopped) std::rethrow_exception(stopped);
  co_return done;
}

}  // namespace

asio::awaitable<Result<HttpReply>> watchRequest(const ApiContext* context, Call call) {
  const auto id = readRequestId(call.path[0]);
  if (!id) co_return id.error();
  auto work = [id = *id](Service& service) { return service.watchRequest(id); };
  auto watch = co_await onEngine(context, std::move(work));
  if (!watch) co_return watch.error();
  // Wherever the last reference goes, the watch itself belongs to the engine's executor.
  const std::shared_ptr<RequestWatch> shared(
      watch->release(), [engine = context->engine](RequestWatch* raw) {
        asio::post(engine, [owned = std::unique_ptr<RequestWatch>(raw)]() {});
      });
  HttpStream stream;
  stream.headers = eventStreamHeaders();
  stream.produce = [context, shared,
                    authorization = call.request.headers["authorization"]](ResponseStream& out) {
    return produce(context, shared, authorization, &out);
  };
  co_return HttpReply(std::move(stream));
}

}  // namespace vms::runner::api
