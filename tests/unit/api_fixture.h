#pragma once

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json/value.hpp>
#include <map>
#include <string>

#include "runner/api/auth.h"
#include "runner/api/dispatch.h"
#include "runner/api/http_figures.h"
#include "runner/api/http_wire.h"
#include "runner/api/token.h"
#include "schema/base/asio_clock.h"
#include "schema/base/json.h"
#include "tests/integration/fake_service.h"

namespace vms::runner::api {

/// Sends requests through admission, roles and handlers, without a socket.
class ApiTest : public ::testing::Test {
 protected:
  struct Answer {
    int status = 0;
    std::map<std::string, std::string> headers;
    std::string body;
    bool complete = true;  ///< False: a stream that was cut short.
    json::object object() const {
      auto parsed = parseJson(body, "answer", JsonLimits{1u << 26, 32});
      EXPECT_TRUE(parsed && parsed->is_object()) << body;
      return parsed && parsed->is_object() ? parsed->get_object() : json::object();
    }
    std::string text(std::string_view key) const {
      const json::object all = object();
      const auto* value = all.if_contains(key);
      return value != nullptr && value->is_string() ? std::string(value->get_string())
                                                    : std::string();
    }
  };

  ApiTest() {
    for (const char* role : {"viewer", "operator", "admin"}) {
      const MintedToken token = mintToken(role, role, clock_.wallNow());
      service_.tokens.emplace(token.record.hash, token.record);
      tokens_.emplace(role, token.text);
    }
    service_.addVm("web1");
    service_.addVm("web2");
    service_.addHost("host1");
  }

  Answer send(const std::string& method, const std::string& target, const std::string& body = {},
              std::map<std::string, std::string> headers = {}) {
    HttpRequest request;
    request.method = method;
    request.target = target;
    EXPECT_TRUE(parseTarget(request)) << target;
    request.headers = std::move(headers);
    if (!request.headers.contains("authorization")) {
      request.headers["authorization"] = "Bearer " + tokens_.at("admin");
    }
    request.body = body;
    request.peer = peer_;
    Answer answer;
    run([this, request, &answer]() { return exchange(request, &answer); });
    return answer;
  }

  /// An address that the route serves.
  std::string targetOf(const Route& route) {
    std::string target(route.pattern);
    const std::size_t open = target.find('{');
    if (open == std::string::npos) return target;
    std::string value = target.find("vms") != std::string::npos ? "web1" : "host1";
    if (target.find("tokens") != std::string::npos) value = "nobody";
    if (target.find("requests") != std::string::npos) {
      if (service_.requestIds().empty()) send("POST", "/v1/requests", R"({"all": true})");
      value = service_.requestIds().front().str();
    }
    return target.replace(open, target.find('}') - open + 1, value);
  }

  /// Streams end after their first sign of life.
  void cutStreams() {
    context_.keepalive = milliseconds(1);
    stream_writes_ = 1;
  }

  Answer sendAs(const std::string& role, const std::string& method, const std::string& target,
                const std::string& body = {}) {
    return send(method, target, body, {{"authorization", "Bearer " + tokens_.at(role)}});
  }

  /// Runs a coroutine and everything that it starts.
  void run(std::function<asio::awaitable<void>()> make) {
    asio::co_spawn(io_, std::move(make), [](const std::exception_ptr& error) {
      if (error) std::rethrow_exception(error);
    });
    io_.restart();
    io_.run();
  }

  asio::io_context io_{1};
  AsioClock clock_;
  FakeService service_{io_.get_executor()};
  Authenticator authenticator_;
  RequestCounters counters_;
  ApiContext context_{service_,    clock_,  io_.get_executor(), authenticator_,
                      seconds(15), nullptr, counters_};
  HttpHandlers handlers_ = dispatchHandlers(&context_);
  std::map<std::string, std::string> tokens_;
  std::string peer_ = "192.0.2.1:1000";
  /// After so many the client of a stream goes away.
  std::size_t stream_writes_ = 1'000'000;

 private:
  class Collector final : public ResponseStream {
   public:
    Collector(std::string* out, std::size_t writes) : out_(out), left_(writes) {}
    asio::awaitable<Result<void>> write(std::string data) override {
      if (left_-- == 0) co_return Error(ErrorClass::Unavailable, "the client is gone");
      *out_ += data;
      co_return Result<void>();
    }

   private:
    std::string* out_;
    std::size_t left_;
  };

  static void keep(Answer& answer, int status, const HttpHeaders& headers) {
    answer.status = status;
    for (const auto& [name, value] : headers) answer.headers[name] = value;
  }

  asio::awaitable<void> exchange(HttpRequest request, Answer* answer) {
    request.has_body = !request.body.empty();
    HttpRequest head = request;
    head.body.clear();
    Admission admission = co_await handlers_.admit(std::move(head));
    if (admission.refusal) {
      keep(*answer, admission.refusal->status, admission.refusal->headers);
      answer->body = admission.refusal->body;
      co_return;
    }
    request.context = admission.context;
    HttpReply reply = co_await handlers_.handle(std::move(request));
    if (auto* whole = std::get_if<HttpResponse>(&reply)) {
      keep(*answer, whole->status, whole->headers);
      answer->body = whole->body;
      co_return;
    }
    const HttpStream& stream = std::get<HttpStream>(reply);
    keep(*answer, stream.status, stream.headers);
    Collector collector(&answer->body, stream_writes_);
    const Result<void> produced = co_await stream.produce(collector);
    answer->complete = produced.has_value();
  }
};

}  // namespace vms::runner::api
