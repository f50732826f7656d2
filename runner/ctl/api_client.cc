#include "runner/ctl/api_client.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/serialize.hpp>

#include "runner/ctl/interrupt.h"
#include "schema/base/asio_clock.h"
#include "schema/base/json.h"

namespace vms::runner::ctl {
namespace {

constexpr Duration kKeyPatience = seconds(30);
constexpr std::size_t kAnswerBytes = std::size_t{1} << 30U;
constexpr std::size_t kPage = 1000;

std::string textOf(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  const auto* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string() : std::string(*text);
}

/// What a person reads of an answer that is no success.
Failure failureOf(const HttpAnswer& answer, const std::string& server) {
  std::string detail;
  if (const auto body = parseJson(answer.body, "answer"); body && body->is_object()) {
    detail = textOf(body->get_object(), "detail");
  }
  if (detail.empty()) {
    detail = "the server at " + server + " answered with status " + std::to_string(answer.status) +
             " and no explanation; check that --server names an engine";
  }
  if (answer.status == 401 || answer.status == 403) {
    if (answer.status == 401) detail += " (give its file with --token)";
    return Failure(kExitNotAuthorised, std::move(detail));
  }
  return Failure(kExitFailed, std::move(detail));
}

Failure failureOf(const TransportError& error) {
  if (interrupted()) {
    return Failure(kExitInterrupted, error.reached == Reached::Nothing
                                         ? "interrupted: the engine was not asked"
                                         : "interrupted: the engine may have done what was asked; "
                                           "look before trying again");
  }
  return Failure(error.reached == Reached::TimedOut ? kExitTimeout : kExitUnreachable,
                 error.message);
}

Outcome<json::value> valueOf(const Transported<HttpAnswer>& answer, const std::string& server) {
  if (!answer) return failureOf(answer.error());
  if (answer->status / 100 != 2) return failureOf(*answer, server);
  if (answer->body.empty()) return json::value();
  JsonLimits limits;
  limits.max_bytes = kAnswerBytes;
  auto value = parseJson(answer->body, "answer", limits);
  if (!value) {
    return Failure(kExitFailed, "the server at " + server +
                                    " sent no JSON: " + value.error().message +
                                    "; check that --server names an engine");
  }
  return std::move(*value);
}

}  // namespace

std::string encode(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out.push_back(c);
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out.push_back('%');
    out.push_back(kDigits[byte >> 4U]);
    out.push_back(kDigits[byte & 15U]);
  }
  return out;
}

std::string queryText(const Query& query) {
  std::string out;
  for (const auto& [name, value] : query) {
    if (value.empty()) continue;
    out += (out.empty() ? "?" : "&") + name + "=" + encode(value);
  }
  return out;
}

ApiClient::ApiClient(HttpClient http, std::string token, std::unique_ptr<Clock> clock)
    : http_(std::move(http)), token_(std::move(token)), clock_(std::move(clock)) {}

Outcome<ApiClient> ApiClient::open(const Settings& settings) {
  if (settings.server.empty()) {
    return Failure(kExitUsage,
                   "no engine is named; give --server https://HOST:PORT, set "
                   "VMSCTL_SERVER or use a context file");
  }
  std::string token;
  if (!settings.token_file.empty()) {
    auto read = readToken(settings.token_file);
    if (!read) return read.error();
    token = std::move(*read);
  }
  HttpClientOptions options;
  options.server = settings.server;
  options.ca_file = settings.ca_file;
  if (const auto limit = settings.timeLimit()) {
    options.connect_timeout = std::min(options.connect_timeout, *limit);
    options.read_timeout = std::min(options.read_timeout, *limit);
  }
  auto http = HttpClient::open(std::move(options));
  if (!http) return http.error();
  return ApiClient(std::move(*http), std::move(token), std::make_unique<AsioClock>());
}

HttpCall ApiClient::call(std::string method, std::string target) const {
  HttpCall call;
  call.method = std::move(method);
  call.target = std::move(target);
  if (!token_.empty()) call.headers.emplace_back("Authorization", "Bearer " + token_);
  return call;
}

Outcome<json::value> ApiClient::get(const std::string& target) {
  return valueOf(http_.send(call("GET", target)), http_.server());
}

Outcome<json::value> ApiClient::send(std::string method, std::string target,
                                     std::optional<json::value> body) {
  HttpCall request = call(std::move(method), std::move(target));
  if (body) {
    request.headers.emplace_back("Content-Type", "application/json");
    request.body = json::serialize(*body);
  }
  return valueOf(http_.send(std::move(request)), http_.server());
}

Outcome<json::value> ApiClient::sendWithKey(std::string target, json::value body, std::string key,
                                            TimePoint until) {
  HttpCall request = call("POST", std::move(target));
  request.headers.emplace_back("Content-Type", "application/json");
  request.headers.emplace_back("Idempotency-Key", std::move(key));
  request.body = json::serialize(body);
  const TimePoint patience = std::min(until, clock_->now() + kKeyPatience);
  bool sent_once = false;
  Duration pause_for = milliseconds(200);
  for (;;) {
    const auto answer = http_.send(request);
    if (answer) return valueOf(answer, http_.server());
    sent_once = sent_once || answer.error().reached != Reached::Nothing;
    // Nothing was ever sent: there is no doubt to resolve, and the user learns it at once.
    if (interrupted() || !sent_once || clock_->now() + pause_for >= patience)
      return failureOf(answer.error());
    pause(pause_for);
    pause_for = std::min<Duration>(pause_for * 2, seconds(2));
  }
}

Outcome<json::array> ApiClient::getAll(const std::string& path, Query query,
                                       std::string_view member, std::size_t limit) {
  json::array all;
  query.emplace_back("limit", "");
  query.emplace_back("cursor", "");
  while (all.size() < limit) {
    query[query.size() - 2].second = std::to_string(std::min(kPage, limit - all.size()));
    auto answer = get(path + queryText(query));
    if (!answer) return answer.error();
    auto* body = answer->if_object();
    auto* rows = body == nullptr ? nullptr : body->if_contains(member);
    if (rows == nullptr || !rows->is_array()) {
      return Failure(kExitFailed, "the answer of " + http_.server() +
                                      " has no list; check that --server names an engine");
    }
    const bool nothing = rows->get_array().empty();
    for (auto& row : rows->get_array()) all.push_back(std::move(row));
    query.back().second = textOf(*body, "next_cursor");
    if (nothing || query.back().second.empty()) break;
  }
  return all;
}

Outcome<void> ApiClient::download(const std::string& target,
                                  const std::function<bool(std::string_view)>& piece) {
  HttpClient::StreamHandlers handlers;
  handlers.data = piece;
  const auto answer = http_.stream(call("GET", target), std::move(handlers));
  if (!answer) return failureOf(answer.error());
  if (answer->status / 100 != 2) return failureOf(*answer, http_.server());
  return {};
}

Outcome<ApiClient::StreamEnd> ApiClient::events(
    const std::string& target, const std::string& last_id,
    const std::function<bool(const SseEvent&)>& on_event, const std::function<bool()>& tick) {
  SseParser parser;
  StreamEnd end;
  bool wanted_end = false;
  HttpCall request = call("GET", target);
  request.headers.emplace_back("Accept", "text/event-stream");
  if (!last_id.empty()) request.headers.emplace_back("Last-Event-ID", last_id);
  HttpClient::StreamHandlers handlers;
  handlers.data = [&](std::string_view piece) {
    for (const SseEvent& event : parser.feed(piece)) {
      if (on_event(event)) continue;
      wanted_end = true;
      return false;
    }
    return true;
  };
  handlers.tick = [&]() {
    if (tick()) return true;
    wanted_end = true;
    return false;
  };
  const auto answer = http_.stream(std::move(request), std::move(handlers));
  if (wanted_end) return end;
  end.how = Streamed::Broken;
  if (!answer) {
    if (answer.error().reached == Reached::Nothing) return failureOf(answer.error());
    return end;
  }
  if (answer->status / 100 == 2) return end;
  Failure refused = failureOf(*answer, http_.server());
  if (answer->status / 100 != 5 && answer->status != 429) return refused;
  end.how = Streamed::Refused;
  end.why = std::move(refused.message);
  return end;
}

void ApiClient::pause(Duration time) const {
  constexpr Duration kSlice = milliseconds(100);
  boost::asio::io_context context(1);
  const TimePoint until = clock_->now() + time;
  for (Duration left = time; left > Duration::zero() && !interrupted();
       left = until - clock_->now()) {
    boost::asio::steady_timer timer(context, std::min(left, kSlice));
    boost::system::error_code cut_short;  // By a signal.
    timer.wait(cut_short);
  }
}

}  // namespace vms::runner::ctl
