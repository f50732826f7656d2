#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>

#include "tests/integration/ctl_fixture.h"

/// Whatever is wrong is one line that names it, and a status of its own.
namespace vms::runner::api {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<std::string>;

void expectOneLine(const Finished& finished, int status, const std::string& says) {
  EXPECT_EQ(finished.status, status) << finished.err;
  EXPECT_EQ(finished.err.find("vmsctl: "), 0u) << finished.err;
  EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << finished.err;
  EXPECT_THAT(finished.err, HasSubstr(says));
}

/// Answers every connection with the same bytes, then closes it.
class PlainServer {
 public:
  explicit PlainServer(std::string answer) : answer_(std::move(answer)) {
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof any;
    EXPECT_EQ(::bind(socket_, reinterpret_cast<const sockaddr*>(&any), size), 0);
    EXPECT_EQ(::listen(socket_, 8), 0);
    EXPECT_EQ(::getsockname(socket_, reinterpret_cast<sockaddr*>(&any), &size), 0);
    port_ = ntohs(any.sin_port);
    thread_ = std::thread([this]() { serve(); });
  }
  ~PlainServer() {
    ::shutdown(socket_, SHUT_RDWR);
    thread_.join();
    ::close(socket_);
  }
  PlainServer(const PlainServer&) = delete;
  PlainServer& operator=(const PlainServer&) = delete;
  std::string port() const { return std::to_string(port_); }

 private:
  void serve() {
    for (;;) {
      const int peer = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
      if (peer < 0) return;
      char first = 0;
      ::recv(peer, &first, 1, 0);
      ::send(peer, answer_.data(), answer_.size(), MSG_NOSIGNAL);
      ::close(peer);
    }
  }

  const std::string answer_;
  int socket_ = -1;
  int port_ = 0;
  std::thread thread_;
};

class CtlFailures : public Ctl {
 protected:
  std::string file(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
};

TEST_F(CtlFailures, WrongWords) {
  const std::string id = "01a1fbd5-e9b6-741e-82ea-cd7eb4dae37c";
  const std::vector<std::tuple<Words, int, std::string>> cases = {
      {{"stpo", "--all"}, 2, "did you mean 'stop'?"},
      {{"vm", "lsit"}, 2, "did you mean 'list'?"},
      {{"run", "web1", "--dedline", "5s"}, 2, "did you mean '--deadline'?"},
      {{"run", "web1", "--deadline", "0s"}, 2, "--deadline '0s'"},
      {{"run", "web1", "--deadline", "999999999h"}, 2, "is no time from 1ms to 7d"},
      {{"run", "web1", "--timeout", "99999h"}, 2, "is no time from 1ms to 365d"},
      {{"run", "web1", "--key", "a\r\nX-Other: b"}, 2, "--key must be"},
      {{"run", "web1", "--key", std::string(256, 'k')}, 2, "--key must be"},
      {{"vm"}, 2, "no command is named; see 'vmsctl vm --help'"},
      {{"vm", "list", "extra"}, 2, "takes no 'extra'; see 'vmsctl vm list --help'"},
      {{"run", "web1", "--host", "a", "--host", "b"}, 2, "--host is given more than once"},
      {{"watch", "--count", "-1"}, 2, "--count"},
      {{"request", "show", "xyz"}, 1, "'vmsctl request list' shows"},
      {{"vm", "set", "web1", "--after", ""}, 2, "clear it with --no-after"},
      {{"vm", "set", "web1", "--after", "db", "--no-after"}, 2, "contradict each other"},
      {{"run", "web1", "--priority", "-1"}, 2, "--priority"},
      {{"run", "web1", "--priority", "99999999999999999999"}, 2, "--priority"},
      {{"run", "web1", "--priority", "1", "--priority", "2"}, 2, "--priority"},
      {{"run", "--selector", "a=1", "--selector", "a=2"}, 2, "'a' twice"},
      {{"run", "nosuch"}, 1, "'nosuch'"},
      {{"run", std::string(100'000, 'x')}, 1, ""},
      {{"stop", "nosuch"}, 1, "'nosuch'"},
      {{"vm", "show", "nosuch"}, 1, "'nosuch'"},
      {{"vm", "show"}, 2, "no VM is named"},
      {{"vm", "undefine", "nosuch", "nosuch"}, 1, "'nosuch'"},
      {{"vm", "set", "web1", "--label", "=x"}, 2, "--label '=x'"},
      {{"request", "show", id}, 1, id},
      {{"request", "watch", id}, 1, id},
      {{"request", "cancel"}, 2, "REQUEST"},
      {{"host", "show", "nosuch"}, 1, "'nosuch'"},
      {{"host", "fence", "host1"}, 2, "cannot 'host fence' yet"},
      {{"migrate", "web1", "--to", "host1"}, 2, "cannot 'migrate' yet"},
      {{"history", "--since", "yesterday"}, 2, "--since 'yesterday'"},
      {{"history", "--limit", "-1"}, 2, "--limit"},
      {{"history", "--request", "nosuch"}, 1, "request"},
      {{"completion", "tcsh"}, 2, "tcsh"},
      {{"token", "create", "--role", "king"}, 2, "king"},
      {{"token", "revoke", "nosuch"}, 1, "nosuch"},
      {{"vm", "list", "--color", "blue"}, 2, "blue"},
      {{"vm", "list", "--timeout", "soon"}, 2, "--timeout 'soon'"},
  };
  for (const auto& [words, status, says] : cases) {
    SCOPED_TRACE(words[0] + " " + (words.size() > 1 ? words[1].substr(0, 20) : ""));
    expectOneLine(ctl(words), status, says);
  }
}

TEST_F(CtlFailures, WrongFilesAndPlaces) {
  const std::vector<std::pair<Words, std::string>> cases = {
      {{"--server", "localhost:8443"}, "give https://HOST:PORT, as https://localhost:8443"},
      {{"--server", "http://localhost:1"}, "give https://HOST:PORT"},
      {{"--server", "https://"}, "give https://HOST:PORT"},
      {{"--token", folder_ / "nowhere"}, "nowhere"},
      {{"--token", file("empty", "\n")}, "is empty"},
      {{"--token", file("two", "one two")}, "more than one word"},
      {{"--ca", folder_ / "nowhere"}, "nowhere"},
      {{"--context", file("broken.toml", "server = [\n")}, "broken.toml:"},
      {{"--context", file("type.toml", "server = 7\n")}, "server"},
      {{"--context", folder_ / "nowhere"}, "nowhere"},
  };
  for (const auto& [words, says] : cases) {
    SCOPED_TRACE(words[0] + " " + words[1]);
    Words line = {"vm", "list"};
    line.insert(line.end(), words.begin(), words.end());
    const bool context = words[0] == "--context";
    expectOneLine(context ? CtlProcess(folder_, line).wait() : ctl(line), 2, says);
  }
  expectOneLine(CtlProcess(folder_, {"vm", "list"}).wait(), 2, "no engine is named");
}

TEST_F(CtlFailures, TokensThatAreNotGood) {
  const WallTime now = AsioClock().wallNow();
  MintedToken expired = mintToken("admin", "", now - std::chrono::hours(2));
  expired.record.expires_at = now - std::chrono::hours(1);
  MintedToken revoked = mintToken("admin", "", now);
  revoked.record.revoked_at = now;
  server_.onEngine([expired, revoked](FakeService& service) {
    service.tokens.emplace(expired.record.hash, expired.record);
    service.tokens.emplace(revoked.record.hash, revoked.record);
  });
  const Words texts = {expired.text, revoked.text, mintToken("admin", "", now).text, "rubbish"};
  for (const std::string& text : texts) {
    expectOneLine(ctl({"vm", "list", "--token", file("token.bad", text)}), 4, "token");
  }
  expectOneLine(
      CtlProcess(folder_, {"vm", "list", "--server", server_.url(), "--ca", folder_.ca()}).wait(),
      4, "token");
}

TEST_F(CtlFailures, ServersThatAreNotEngines) {
  const PlainServer plain("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
  expectOneLine(ctl({"vm", "list", "--server", "https://localhost:" + plain.port()}), 5,
                "does not speak HTTPS");
  const PlainServer closing("");
  expectOneLine(ctl({"vm", "list", "--server", "https://localhost:" + closing.port()}), 5,
                "cannot reach");
  expectOneLine(ctl({"vm", "list", "--server", "https://no-such-host.invalid"}), 5, "no-such-host");
  // The name that the certificate does not hold.
  const std::string port = server_.url().substr(server_.url().rfind(':'));
  expectOneLine(ctl({"vm", "list", "--server", "https://127.0.0.2" + port}), 5, "");
}

TEST_F(CtlFailures, AStreamThatBreaksIsNoWholeHistory) {
  server_.onEngine([](FakeService& service) {
    service.attempts.resize(5000);
    service.fail_history_after = 2;
  });
  const Finished finished = ctl({"history", "--limit", "0", "--output", "ndjson"});
  expectOneLine(finished, 5, "ended in the middle of an answer; try again");
  EXPECT_NE(finished.out, "");
  server_.onEngine([](FakeService& service) { service.fail_history_after = 2; });
  const Finished list = ctl({"history", "--limit", "0", "--output", "json"});
  expectOneLine(list, 5, "ended in the middle of an answer; try again");
  EXPECT_EQ(list.out.find("[{"), 0u) << "what came before stays";
  EXPECT_EQ(list.out.find(']'), std::string::npos) << "and cannot be taken for the whole";
}

TEST_F(CtlFailures, AnErrorAtTheBeginningPrintsNoList) {
  const Words range = {"--since", "1h", "--until", "2h"};
  for (const std::string format : {"json", "ndjson", "csv", "table"}) {
    Words words = {"history", "--output", format};
    words.insert(words.end(), range.begin(), range.end());
    const Finished finished = ctl(words);
    expectOneLine(finished, 1, "later than 'until'");
    EXPECT_EQ(finished.out, "") << format;
  }
  EXPECT_EQ(ctl({"history", "--output", "json"}).out, "[]\n");
}

TEST_F(CtlFailures, AConfirmationThatIsNotEnoughSaysSo) {
  server_.onEngine([](FakeService& service) {
    service.hosts.at("host1").moved_domains = {"web1", "web2"};
  });
  const Finished finished = ctl({"host", "confirm", "host1"});
  expectOneLine(finished, 0, "but not that 2 VMs that somebody moved away");
  EXPECT_THAT(finished.out, HasSubstr("host1"));
}

TEST_F(CtlFailures, ANameThatNoVmHasIsTold) {
  server_.onEngine([](FakeService& service) { service.vms.at("web1").after_undefined = {"dbb"}; });
  const Finished finished = ctl({"vm", "set", "web1", "--after", "dbb"});
  expectOneLine(finished, 0, "no VM is called 'dbb' yet");
  EXPECT_EQ(ctl({"vm", "set", "web1", "--priority", "3"}).err, "") << "nothing was named";
}

TEST_F(CtlFailures, OutputThatCannotBeWritten) {
  server_.onEngine([](FakeService& service) { service.attempts.resize(5000); });
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(full, 0);
  for (const Words& words : {Words{"vm", "list"}, Words{"--help"},
                             Words{"history", "--output", "csv"}, Words{"completion", "bash"}}) {
    expectOneLine(CtlProcess(folder_, withContext(words), {}, {}, -1, full).wait(), 1,
                  "No space left on device");
  }
  ::close(full);
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  ::close(ends[0]);
  for (const Words& words :
       {Words{"vm", "list"}, Words{"history", "--limit", "0", "--output", "csv"},
        Words{"watch", "--interval", "100ms"}}) {
    const Finished closed = CtlProcess(folder_, withContext(words), {}, {}, -1, ends[1]).wait();
    EXPECT_EQ(closed.status, 141) << closed.err;
    EXPECT_EQ(closed.err, "");
  }
  ::close(ends[1]);
}

}  // namespace
}  // namespace vms::runner::api
