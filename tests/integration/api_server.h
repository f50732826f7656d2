#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "runner/api/api.h"
#include "runner/api/token.h"
#include "schema/base/asio_clock.h"
#include "schema/base/io_threads.h"
#include "schema/base/pki.h"
#include "tests/integration/fake_service.h"

namespace vms::runner::api {

/// A folder of its own, with an authority and a server certificate; gone at the end.
class TestFolder {
 public:
  TestFolder() {
    std::string name = std::filesystem::temp_directory_path() / "vms-api-XXXXXX";
    path_ = ::mkdtemp(name.data());
    initCa(path_).value();
    server_ = issueServer(path_, "localhost").value();
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  std::string ca() const { return path_ / "ca.crt"; }
  const IssuedFiles& server() const { return server_; }

 private:
  std::filesystem::path path_;
  IssuedFiles server_;
};

/// The API over a fake engine: the engine on a thread of its own, sockets on a pool of two.
class ApiServer {
 public:
  explicit ApiServer(const TestFolder& folder, std::function<void(ApiOptions&)> change = {})
      : engine_guard_(engine_.get_executor()), service_(engine_.get_executor()) {
    options_.http.certificate_file = folder.server().certificate;
    options_.http.key_file = folder.server().key;
    if (change) change(options_);
    token_ = mintToken("admin", "test", clock_.wallNow());
    service_.tokens.emplace(token_.record.hash, token_.record);
    thread_ = std::thread([this]() { engine_.run(); });
    start();
  }
  ~ApiServer() {
    stop();
    engine_guard_.reset();
    thread_.join();
  }
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  /// Again on the same port after stop().
  void start() {
    io_ = std::make_unique<IoThreads>("io", 2);
    api_ = std::make_unique<Api>(service_, clock_, engine_.get_executor(),
                                 io_->context().get_executor(), options_);
    api_->start().value();
    options_.http.port = api_->boundPort();
  }
  void stop() {
    if (!api_) return;
    auto work = [this]() { return api_->stop(); };
    asio::co_spawn(engine_, std::move(work), asio::use_future).get();
    api_.reset();
    io_.reset();
  }

  /// Does something with the engine on its own thread.
  template <class Function>
  auto onEngine(Function function) {
    using Answer = std::invoke_result_t<Function&, FakeService&>;
    auto promise = std::make_shared<std::promise<Answer>>();
    auto result = promise->get_future();
    asio::post(engine_, [this, promise, function]() {
      if constexpr (std::is_void_v<Answer>) {
        function(service_);
        promise->set_value();
      } else {
        promise->set_value(function(service_));
      }
    });
    return result.get();
  }

  Api& api() { return *api_; }
  std::string address() const { return api_->boundAddress(); }
  std::string url() const { return "https://localhost:" + std::to_string(options_.http.port); }
  const std::string& token() const { return token_.text; }

 private:
  asio::io_context engine_{1};
  asio::executor_work_guard<asio::io_context::executor_type> engine_guard_;
  AsioClock clock_;
  FakeService service_;
  ApiOptions options_;
  MintedToken token_;
  std::unique_ptr<IoThreads> io_;
  std::unique_ptr<Api> api_;
  std::thread thread_;
};

}  // namespace vms::runner::api
