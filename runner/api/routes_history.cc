#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <optional>
#include <utility>

#include "runner/api/event_stream.h"
#include "runner/api/fields.h"
#include "runner/api/routes.h"
#include "runner/api/views.h"

/// GET /v1/history and /v1/history/stats.
namespace vms::runner::api {
namespace {

constexpr auto kPageMax = static_cast<std::int64_t>(kPageRows);
constexpr std::int64_t kExportMax = 100'000'000;

enum class Format { Json, Ndjson, Csv };

std::optional<WallTime> readTime(Fields& fields, std::string_view name) {
  const auto text = fields.text(name, 64);
  if (!text) return std::nullopt;
  const auto time = parseRfc3339(*text);
  if (!time) fields.refuse(name, "must be an RFC 3339 time, as 2026-11-20T08:15:00Z");
  return time;
}

HistoryQuery readQuery(Fields& fields) {
  HistoryQuery query;
  query.host = fields.text("host", 64);
  if (const auto vm = fields.text("vm")) {
    if (const auto uuid = Uuid::parse(*vm)) {
      query.vm.emplace();
      query.vm->uuid = *uuid;
    } else {
      query.vm_name = *vm;
    }
  }
  if (const auto text = fields.text("request", 64)) {
    const auto id = readRequestId(*text);
    if (id) query.request = *id;
    if (!id) fields.refuse("request", "must be the id of a request");
  }
  query.since = readTime(fields, "since");
  query.until = readTime(fields, "until");
  if (query.since && query.until && *query.until < *query.since) {
    fields.refuse("since", "is " + formatRfc3339(*query.since) + ", later than 'until', " +
                               formatRfc3339(*query.until) +
                               "; exchange the two, or leave one out");
  }
  query.outcome = fields.word("outcome", "succeeded failed cancelled");
  if (const auto reason = fields.word("reason", "user ha rerun")) {
    query.reason = parseRunReason(*reason);
  }
  return query;
}

/// `format` wins over the Accept header.
Format readFormat(Fields& fields, const HttpRequest& request) {
  const auto word = fields.word("format", "json ndjson csv");
  std::string_view wanted;
  if (word) {
    wanted = *word;
  } else if (const auto accept = request.headers.find("accept"); accept != request.headers.end()) {
    wanted = accept->second;
  }
  if (wanted.starts_with("ndjson") || wanted.starts_with("application/x-ndjson")) {
    return Format::Ndjson;
  }
  return wanted.starts_with("csv") || wanted.starts_with("text/csv") ? Format::Csv : Format::Json;
}

/// Writes pages until the limit or the end; an error after the beginning cuts the stream short.
asio::awaitable<Result<void>> writeExport(const ApiContext* context, ResponseStream* stream,
                                          HistoryQuery query, HistoryPage page, Format format,
                                          std::size_t left, std::string authorization) {
  TokenWatch token(context, std::move(authorization));
  std::string text = format == Format::Csv ? attemptCsvHeader() : std::string();
  for (;;) {
    for (const AttemptRecord& attempt : page.attempts) {
      if (format == Format::Csv) {
        text += attemptCsv(attempt);
      } else {
        text += json::serialize(attemptJson(attempt));
        text.push_back('\n');
      }
    }
    const Result<void> written = co_await stream->write(std::move(text));
    left -= std::min(left, page.attempts.size());
    if (!written || left == 0 || page.next_cursor.empty()) co_return written;
    const Result<void> counts = co_await token.check();
    if (!counts) co_return counts.error();
    query.cursor = page.next_cursor;
    query.limit = std::min(left, static_cast<std::size_t>(kPageMax));
    auto work = [query](Service& service) { return service.history(query); };
    Result<HistoryPage> next = co_await onEngine(context, std::move(work));
    if (!next) co_return next.error();
    page = std::move(*next);
    text = std::string();
  }
}

}  // namespace

asio::awaitable<Result<HttpReply>> showHistory(const ApiContext* context, Call call) {
  Fields fields = Fields::ofQuery(call.request);
  HistoryQuery query = readQuery(fields);
  const Format format = readFormat(fields, call.request);
  const bool is_export = format != Format::Json;
  const std::int64_t most = is_export ? kExportMax : kPageMax;
  const auto limit = fields.integer("limit", 1, most).value_or(is_export ? kExportMax : 100);
  query.cursor = fields.text("cursor", 1024).value_or("");
  if (auto read = fields.finish(); !read) co_return read.error();
  query.limit = static_cast<std::size_t>(std::min(limit, kPageMax));
  auto work = [query](Service& service) { return service.history(query); };
  Result<HistoryPage> page = co_await onEngine(context, std::move(work));
  if (!page) co_return page.error();
  if (is_export) {
    HttpStream stream;
    stream.headers.emplace_back(
        "Content-Type", format == Format::Csv ? "text/csv; charset=utf-8" : "application/x-ndjson");
    stream.headers.emplace_back("Cache-Control", "no-store");
    stream.produce = [context, query, page = std::move(*page), format, limit,
                      authorization = call.request.headers["authorization"]](ResponseStream& out) {
      return writeExport(context, &out, query, page, format, static_cast<std::size_t>(limit),
                         authorization);
    };
    co_return HttpReply(std::move(stream));
  }
  json::array list;
  for (const AttemptRecord& attempt : page->attempts) list.emplace_back(attemptJson(attempt));
  json::object body;
  body["attempts"] = std::move(list);
  body["next_cursor"] = page->next_cursor.empty() ? json::value() : json::value(page->next_cursor);
  co_return HttpReply(jsonReply(200, std::move(body)));
}

asio::awaitable<Result<HttpReply>> showHistoryStats(const ApiContext* context, Call call) {
  Fields fields = Fields::ofQuery(call.request);
  const HistoryQuery query = readQuery(fields);
  if (auto read = fields.finish(); !read) co_return read.error();
  auto work = [query](Service& service) { return service.historyStats(query); };
  const auto stats = co_await onEngine(context, std::move(work));
  if (!stats) co_return stats.error();
  co_return HttpReply(jsonReply(200, statsJson(*stats)));
}

}  // namespace vms::runner::api
