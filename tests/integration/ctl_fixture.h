#pragma once

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "schema/base/json.h"
#include "tests/integration/ctl_process.h"

namespace vms::runner::api {

/// vmsctl against the API over a fake engine with three VMs and a host.
class Ctl : public ::testing::Test {
 protected:
  Ctl() : server_(folder_) {
    std::ofstream(folder_ / "token") << server_.token() << "\n";
    // Relative paths start at the file's folder.
    std::ofstream(folder_ / "ctl.toml")
        << "server = \"" << server_.url() << "\"\ntoken = \"token\"\nca = \"ca.crt\"\n";
    server_.onEngine([](FakeService& service) {
      for (const char* name : {"web1", "web2", "db"}) service.addVm(name);
      service.vms.at("web1").vm.labels["tier"] = "web";
      service.vms.at("web2").vm.labels["tier"] = "web";
      service.addHost("host1");
    });
  }

  std::vector<std::string> withContext(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"--context", folder_ / "ctl.toml"});
    return arguments;
  }
  Finished ctl(const std::vector<std::string>& arguments, const std::string& input = {}) {
    return CtlProcess(folder_, withContext(arguments), {}, input).wait();
  }
  json::array rowsOf(const Finished& finished) {
    JsonLimits limits;
    limits.max_bytes = 64u << 20;
    const auto value = parseJson(finished.out, "stdout", limits);
    EXPECT_TRUE(value && value->is_array()) << finished.out << finished.err;
    return value && value->is_array() ? value->get_array() : json::array();
  }
  /// The request that a process makes, once it is there. Bounded by the test's time-out.
  RequestId awaitRequest(std::size_t count = 1) {
    for (;;) {
      const auto ids = server_.onEngine([](FakeService& service) { return service.requestIds(); });
      if (ids.size() >= count) return ids.back();
      std::this_thread::yield();
    }
  }
  void awaitWatchers(std::size_t count) {
    while (server_.onEngine([](FakeService& s) { return *s.watching; }) != count) {
      std::this_thread::yield();
    }
  }
  void change(RequestId id, std::function<void(RequestView&)> how) {
    server_.onEngine([id, how](FakeService& service) {
      service.change(id, how);
      return 0;
    });
  }
  static void allUp(RequestView& view) {
    view.queued = 0;
    view.running = view.request.total;
    view.batches = 1;
    view.state = "succeeded";
  }

  TestFolder folder_;
  ApiServer server_;
};

}  // namespace vms::runner::api
