#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <string>

#include "runner/api/auth.h"
#include "runner/api/dispatch.h"
#include "runner/api/http_figures.h"
#include "runner/api/http_wire.h"
#include "runner/api/token.h"
#include "schema/base/asio_clock.h"
#include "tests/fuzz/target.h"
#include "tests/integration/fake_service.h"

using namespace vms;               // NOLINT: a program of its own.
using namespace vms::runner;       // NOLINT
using namespace vms::runner::api;  // NOLINT

namespace {

/// "POST /v1/requests\nheader: value\n\nbody"; what follows a head without a blank line is none.
HttpRequest parseRequest(std::string_view text) {
  HttpRequest request;
  const std::size_t end = text.find("\n\n");
  std::string_view head = text.substr(0, end);
  if (end != std::string_view::npos) request.body = text.substr(end + 2);
  for (bool first = true; !head.empty(); first = false) {
    const std::string_view line = head.substr(0, head.find('\n'));
    head.remove_prefix(std::min(head.size(), line.size() + 1));
    const std::size_t cut = line.find(first ? " " : ": ");
    const std::string name(line.substr(0, cut));
    const std::string value(cut == std::string_view::npos ? ""
                                                          : line.substr(cut + (first ? 1 : 2)));
    if (first) {
      request.method = name;
      request.target = value;
    } else {
      request.headers[name] = value;
    }
  }
  return request;
}

/// A client that reads a little of a stream and goes away.
class Impatient final : public ResponseStream {
 public:
  asio::awaitable<Result<void>> write(std::string) override {
    if (left_-- > 0) co_return Result<void>();
    co_return Error(ErrorClass::Unavailable, "the client is gone");
  }

 private:
  int left_ = 2;
};

void checkHead(int status, const HttpHeaders& headers) {
  VMS_CHECK(status >= 200 && status < 600 && status != 500, "every answer was meant");
  for (const auto& [name, value] : headers) {
    VMS_CHECK((name + value).find_first_of("\r\n") == std::string::npos, "headers are lines");
  }
}

asio::awaitable<void> exchange(const HttpHandlers* handlers, HttpRequest request) {
  HttpRequest head = request;
  head.body.clear();
  Admission admission = co_await handlers->admit(std::move(head));
  if (admission.refusal) {
    checkHead(admission.refusal->status, admission.refusal->headers);
    co_return;
  }
  request.context = admission.context;
  HttpReply reply = co_await handlers->handle(std::move(request));
  if (const auto* whole = std::get_if<HttpResponse>(&reply)) {
    checkHead(whole->status, whole->headers);
    co_return;
  }
  const HttpStream& stream = std::get<HttpStream>(reply);
  checkHead(stream.status, stream.headers);
  Impatient client;
  const Result<void> produced = co_await stream.produce(client);
  static_cast<void>(produced);
}

}  // namespace

/// A request without an authorization header is an administrator's.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static AsioClock clock;
  static const MintedToken token = mintToken("admin", "fuzzer", clock.wallNow());
  HttpRequest request = parseRequest(fuzz::textOf(data, size));
  request.headers.emplace("authorization", "Bearer " + token.text);
  if (!parseTarget(request)) return 0;

  asio::io_context io(1);
  FakeService service(io.get_executor());
  service.finish_at_once = true;
  service.tokens.emplace(token.record.hash, token.record);
  for (const char* const name : {"web1", "web2"}) service.addVm(name);
  service.addHost("h1");
  Authenticator authenticator;
  RequestCounters counters;
  ApiContext context{service,         clock,   io.get_executor(), authenticator,
                     milliseconds(1), nullptr, counters};
  const HttpHandlers handlers = dispatchHandlers(&context);
  const HttpHandlers* const served = &handlers;
  asio::co_spawn(
      io, [&request, served] { return exchange(served, std::move(request)); },
      [](const std::exception_ptr& error) {
        if (error) std::rethrow_exception(error);
      });
  io.run();
  return 0;
}
