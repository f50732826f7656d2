#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/integration/api_server.h"
#include "tests/integration/tls_peer.h"

namespace vms::runner::api {

inline std::size_t countOf(const std::string& text, const std::string& what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
    ++count;
  }
  return count;
}

/// Talks to the server byte by byte.
class ApiHttp : public ::testing::Test {
 protected:
  /// A connection with TLS.
  std::unique_ptr<RawPeer> peer(ApiServer& server) {
    auto peer = std::make_unique<RawPeer>(server.address());
    EXPECT_TRUE(peer->startTls({}));
    return peer;
  }
  /// Everything that the server says to `bytes` until it closes.
  std::string talk(ApiServer& server, const std::string& bytes) {
    const auto one = peer(server);
    one->send(bytes);
    return one->readToEnd();
  }
  std::string get(ApiServer& server, const std::string& target, const std::string& more = {}) {
    return "GET " + target + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + server.token() +
           "\r\n" + more + "\r\n";
  }
  static constexpr const char* kClose = "Connection: close\r\n";

  TestFolder folder_;
};

}  // namespace vms::runner::api
