#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <utility>

#include "runner/api/event_stream.h"
#include "runner/api/fields.h"
#include "runner/api/routes.h"
#include "runner/api/views.h"

/// GET /v1/events: a snapshot of everything, then what changed (S26).
namespace vms::runner::api {
namespace {

using Piece = std::shared_ptr<const EventPiece>;

Result<EventKinds> readKinds(const HttpRequest& request) {
  Fields fields = Fields::ofQuery(request);
  const auto words = fields.texts("kinds", 3);
  EventKinds kinds;
  if (words) {
    kinds.vms = kinds.requests = kinds.hosts = false;
    for (const std::string& word : *words) {
      if (word == "vm") {
        kinds.vms = true;
      } else if (word == "request") {
        kinds.requests = true;
      } else if (word == "host") {
        kinds.hosts = true;
      } else {
        fields.refuse("kinds", "must be a list of vm, request and host");
      }
    }
  }
  if (auto read = fields.finish(); !read) return read.error();
  return kinds;
}

/// "GENERATION-COMMIT", as we print it.
std::optional<EventId> parseEventId(std::string_view text) {
  const char* end = text.data() + text.size();
  EventId id;
  const auto first = std::from_chars(text.data(), end, id.generation);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '-') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, id.commit);
  if (second.ec != std::errc() || second.ptr != end) return std::nullopt;
  return id;
}

Result<std::optional<EventId>> readLastId(const HttpRequest& request) {
  const auto header = request.headers.find("last-event-id");
  if (header == request.headers.end() || header->second.empty()) return std::optional<EventId>();
  const auto id = parseEventId(header->second);
  if (id) return id;
  return Error(ErrorClass::Invalid,
               "header 'Last-Event-ID' must be the id of an event of this stream, as 7-1234; leave "
               "it out to begin with a snapshot");
}

template <class Row>
void addRows(json::object& data, std::string_view name, const std::vector<Row>& rows) {
  if (rows.empty()) return;
  json::array list;
  for (const Row& row : rows) list.emplace_back(eventJson(row));
  data[name] = std::move(list);
}

std::string textOf(const EventPiece& piece) {
  json::object data;
  addRows(data, "hosts", piece.hosts);
  addRows(data, "requests", piece.requests);
  addRows(data, "vms", piece.vms);
  data["more"] = !piece.complete;
  std::string text = piece.reset ? "event: reset\ndata: {}\n\n" : "";
  // Without an id a client that is cut here begins where it last had everything.
  if (piece.complete) {
    text +=
        "id: " + std::to_string(piece.id.generation) + "-" + std::to_string(piece.id.commit) + "\n";
  }
  text += piece.snapshot ? "event: snapshot\ndata: " : "event: delta\ndata: ";
  return text + json::serialize(data) + "\n\n";
}

/// One piece at a time: what a client has not read stays in the engine's feed, once for all.
asio::awaitable<Result<void>> produce(const ApiContext* context, std::shared_ptr<EventWatch> watch,
                                      std::shared_ptr<Bell> bell, std::string authorization,
                                      ResponseStream* out) {
  EventStream events(context, out, std::move(authorization));
  for (;;) {
    auto poll = [watch](Service&) -> asio::awaitable<Result<Piece>> { co_return watch->poll(); };
    const Result<Piece> piece = co_await onEngine(context, std::move(poll));
    if (!piece) co_return piece.error();
    if (*piece) {
      const Result<void> written = co_await events.write(textOf(**piece));
      if (!written) co_return written;
    } else {
      co_await bell->wait(events.patience());
    }
    const Result<bool> goes_on = co_await events.tend();
    if (!goes_on) co_return goes_on.error();
    if (!*goes_on) co_return Result<void>();
  }
}

}  // namespace

asio::awaitable<Result<HttpReply>> watchEvents(const ApiContext* context, Call call) {
  const auto kinds = readKinds(call.request);
  if (!kinds) co_return kinds.error();
  const auto last = readLastId(call.request);
  if (!last) co_return last.error();
  auto bell = std::make_shared<Bell>(co_await asio::this_coro::executor);
  auto open = [kinds = *kinds, last = *last, weak = std::weak_ptr<Bell>(bell)](
                  Service& service) -> asio::awaitable<Result<std::unique_ptr<EventWatch>>> {
    auto ring = [weak]() {
      if (const auto one = weak.lock()) one->ring();
    };
    co_return service.watchEvents(kinds, last, std::move(ring));
  };
  auto watch = co_await onEngine(context, std::move(open));
  if (!watch) co_return watch.error();
  // Wherever the last reference goes, the watch itself belongs to the engine's executor.
  const std::shared_ptr<EventWatch> shared(
      watch->release(), [engine = context->engine](EventWatch* raw) {
        asio::post(engine, [owned = std::unique_ptr<EventWatch>(raw)]() {});
      });
  HttpStream stream;
  stream.headers = eventStreamHeaders();
  stream.produce = [context, shared, bell,
                    authorization = call.request.headers["authorization"]](ResponseStream& out) {
    return produce(context, shared, bell, authorization, &out);
  };
  co_return HttpReply(std::move(stream));
}

}  // namespace vms::runner::api
