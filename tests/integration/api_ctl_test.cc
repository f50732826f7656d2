#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <boost/json/value.hpp>

#include "schema/base/json.h"
#include "tests/integration/ctl_fixture.h"

namespace vms::runner::api {
namespace {

TEST_F(Ctl, OptionsComeFromTheLineTheEnvironmentAndTheContext) {
  const std::vector<std::string> line = {
      "vm", "list", "--server", server_.url(), "--token", folder_ / "token", "--ca", folder_.ca()};
  EXPECT_EQ(CtlProcess(folder_, line).wait().status, 0);
  EXPECT_EQ(
      CtlProcess(folder_, {"host", "list"},
                 {"VMSCTL_SERVER=" + server_.url(),
                  "VMSCTL_TOKEN=" + std::string(folder_ / "token"), "VMSCTL_CA=" + folder_.ca()})
          .wait()
          .status,
      0);
  EXPECT_EQ(
      CtlProcess(folder_, {"host", "list"}, {"VMSCTL_CONTEXT=" + std::string(folder_ / "ctl.toml")})
          .wait()
          .status,
      0);
  std::ofstream(folder_ / "bad.toml") << "sever = \"x\"\n";
  const Finished bad =
      CtlProcess(folder_, {"host", "list", "--context", folder_ / "bad.toml"}).wait();
  EXPECT_EQ(bad.status, 2);
  EXPECT_NE(bad.err.find("sever"), std::string::npos) << bad.err;
}

TEST_F(Ctl, UsageIsOneLineAndStatus2) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"nonsense"},
                                             {"vm"},
                                             {"run"},
                                             {"run", "web1", "--all"},
                                             {"run", "--selector", "x"},
                                             {"run", "web1", "--priority", "101"},
                                             {"run", "web1", "--host", ""},
                                             {"run", "web1", "--key="},
                                             {"--server", "", "vm", "list"},
                                             {"vm", "show", ""},
                                             {"run", "web1", "--deadline", "60"},
                                             {"run", "web1", "--timeout", "0s"},
                                             {"history", "--outcome", "ok"},
                                             {"history", "--since", "soon"},
                                             {"vm", "set", "web1"},
                                             {"vm", "define", "/no/such.xml"},
                                             {"vm", "list", "--output", "yaml"},
                                             {"token", "create"},
                                             {"pki", "issue", "/tmp"}}) {
    const Finished finished = ctl(arguments);
    EXPECT_EQ(finished.status, 2) << finished.err;
    EXPECT_EQ(finished.err.find("vmsctl: "), 0u) << finished.err;
    EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << finished.err;
    EXPECT_NE(finished.err.find(';'), std::string::npos) << finished.err;
    EXPECT_EQ(finished.out, "");
  }
}

TEST_F(Ctl, HelpAndVersionAreEverywhere) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"--help"},
                                             {"--version"},
                                             {"run", "--help"},
                                             {"vm", "define", "--help"},
                                             {"host", "--help"},
                                             {"history", "--help"}}) {
    const Finished finished = CtlProcess(folder_, arguments).wait();
    EXPECT_EQ(finished.status, 0);
    EXPECT_NE(finished.out, "");
    EXPECT_EQ(finished.err, "");
  }
}

TEST_F(Ctl, TellsApartWhyItCannotWork) {
  std::ofstream(folder_ / "wrong") << mintToken("admin", "", WallTime()).text;
  const Finished wrong = ctl({"vm", "list", "--token", folder_ / "wrong"});
  EXPECT_EQ(wrong.status, 4) << wrong.err;
  const MintedToken viewer = mintToken("viewer", "", WallTime());
  server_.onEngine([viewer](FakeService& service) {
    service.tokens.emplace(viewer.record.hash, viewer.record);
    return 0;
  });
  std::ofstream(folder_ / "viewer") << viewer.text;
  const Finished forbidden = ctl({"run", "web1", "--token", folder_ / "viewer"});
  EXPECT_EQ(forbidden.status, 4) << forbidden.err;
  EXPECT_NE(forbidden.err.find("'operator'"), std::string::npos) << forbidden.err;
  EXPECT_EQ(ctl({"vm", "show", "nope"}).status, 1);
  EXPECT_EQ(ctl({"vm", "list", "--server", "https://127.0.0.1:1"}).status, 5);
  initCa(folder_ / "other").value();
  const Finished untrusted = ctl({"vm", "list", "--ca", folder_ / "other/ca.crt"});
  EXPECT_EQ(untrusted.status, 5);
  EXPECT_NE(untrusted.err.find("not trusted"), std::string::npos) << untrusted.err;
  EXPECT_EQ(ctl({"vm", "list", "--ca", folder_ / "token"}).status, 2);
  const int silent = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof any;
  ASSERT_EQ(::bind(silent, reinterpret_cast<const sockaddr*>(&any), size), 0);
  ASSERT_EQ(::listen(silent, 1), 0);
  ASSERT_EQ(::getsockname(silent, reinterpret_cast<sockaddr*>(&any), &size), 0);
  const std::string url = "https://127.0.0.1:" + std::to_string(ntohs(any.sin_port));
  EXPECT_EQ(ctl({"vm", "list", "--server", url, "--timeout", "200ms"}).status, 5);
  ::close(silent);
}

TEST_F(Ctl, DefinesFromFilesAndStdinAndPrintsIds) {
  const std::string uuid = "11111111-2222-3333-4444-555555555555";
  const std::string xml = "<domain type='test'><name>n1</name><uuid>" + uuid +
                          "</uuid><memory>1024</memory><vcpu>1</vcpu></domain>";
  const Finished made = ctl({"vm", "define", "-", "--label", "a=b", "--gate", "delay:5s"}, xml);
  EXPECT_EQ(made.status, 0) << made.err;
  EXPECT_EQ(made.out, uuid + "\n");
  std::ofstream(folder_ / "vm.xml") << xml;
  EXPECT_EQ(rowsOf(ctl({"vm", "define", folder_ / "vm.xml", "--output", "json"})).size(), 1u);
  EXPECT_EQ(ctl({"vm", "show", "n1", "--xml"}).out.find("<domain"), 0u);
  std::ofstream(folder_ / "bad.xml") << "<domain>";
  const Finished bad = ctl({"vm", "define", folder_ / "bad.xml"});
  EXPECT_EQ(bad.status, 1);
  EXPECT_NE(bad.err.find("bad.xml: "), std::string::npos) << bad.err;
}

TEST_F(Ctl, ListsSetsAndUndefinesVms) {
  EXPECT_EQ(rowsOf(ctl({"vm", "list", "--output", "json"})).size(), 3u);
  EXPECT_EQ(rowsOf(ctl({"vm", "list", "--selector", "tier=web", "--output", "json"})).size(), 2u);
  const Finished lines = ctl({"vm", "list", "--output", "ndjson"});
  EXPECT_EQ(std::count(lines.out.begin(), lines.out.end(), '\n'), 3);
  EXPECT_EQ(ctl({"vm", "list", "--output", "csv"}).out.find("vm_id,vm_name,"), 0u);
  EXPECT_EQ(ctl({"vm", "list"}).out.find("NAME"), 0u);
  const json::array set =
      rowsOf(ctl({"--output", "json", "vm", "set", "--selector", "tier=web", "--priority", "3"}));
  ASSERT_EQ(set.size(), 2u);
  EXPECT_EQ(set[0].as_object().at("priority").as_int64(), 3);
  EXPECT_EQ(ctl({"vm", "set", "web1", "--no-after"}).status, 0);
  server_.onEngine([](FakeService& service) {
    ASSERT_TRUE(service.settings && service.settings->after);
    EXPECT_TRUE(service.settings->after->empty());
  });
  EXPECT_EQ(ctl({"vm", "undefine", "db", "nope"}).status, 1);
  EXPECT_EQ(rowsOf(ctl({"vm", "list", "--output", "json"})).size(), 2u);
}

TEST_F(Ctl, RunPrintsTheIdAndReturns) {
  const Finished finished =
      ctl({"run", "web1", "db", "--avoid", "h1,h2", "--avoid", "h3", "--paused", "--deadline",
           "60s", "--priority", "9", "--host", "host1"});
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_EQ(finished.out, awaitRequest().str() + "\n");
  server_.onEngine([](FakeService& service) {
    EXPECT_EQ(service.started->selection.vms, (std::vector<std::string>{"web1", "db"}));
    EXPECT_EQ(service.started->avoid.size(), 3u);
    EXPECT_EQ(service.started->deadline, seconds(60));
    EXPECT_FALSE(service.started->idempotency_key.empty());
    return 0;
  });
}

TEST_F(Ctl, TheSameKeyIsTheSameRequest) {
  const Finished first = ctl({"run", "--all", "--key", "monday"});
  EXPECT_EQ(ctl({"run", "--all", "--key", "monday"}).out, first.out);
  const Finished other = ctl({"run", "web1", "--key", "monday"});
  EXPECT_EQ(other.status, 1);
}

TEST_F(Ctl, ADryRunSaysWhere) {
  const json::array rows = rowsOf(ctl({"run", "--all", "--dry-run", "--output", "json"}));
  EXPECT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].as_object().at("host").as_string(), "host1");
}

TEST_F(Ctl, WaitShowsProgressAndSucceeds) {
  CtlProcess process(folder_, withContext({"run", "--all", "--wait"}));
  const RequestId id = awaitRequest();
  awaitWatchers(1);
  change(id, [](RequestView& view) {
    view.queued = 1;
    view.running = 2;
  });
  change(id, allUp);
  const Finished finished = process.wait();
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_NE(finished.out.find("succeeded: 3 of 3 VMs up"), std::string::npos) << finished.out;
  EXPECT_NE(finished.err.find("3/3 up"), std::string::npos) << finished.err;
}

TEST_F(Ctl, WaitListsFailuresAndFails) {
  CtlProcess process(folder_, withContext({"run", "--all", "--wait", "--output", "json"}));
  const RequestId id = awaitRequest();
  change(id, [](RequestView& view) {
    allUp(view);
    view.running = 2;
    view.failed = 1;
    view.state = "failed";
    view.failures.push_back({"db", "host1", "host_rejected", "no disk"});
  });
  const Finished finished = process.wait();
  EXPECT_EQ(finished.status, 1) << finished.err;
  const auto view = parseJson(finished.out, "stdout");
  ASSERT_TRUE(view) << finished.out;
  EXPECT_EQ(view->at("failures").as_array()[0].at("vm_name").as_string(), "db");
  EXPECT_NE(ctl({"request", "watch", id.str()}).out.find("db on host1: host_rejected: no disk"),
            std::string::npos);
}

TEST_F(Ctl, WaitEndsWithTheTimeout) {
  const Finished finished = ctl({"run", "--all", "--wait", "--timeout", "300ms"});
  EXPECT_EQ(finished.status, 3);
  EXPECT_NE(finished.err.find("request watch " + awaitRequest().str()), std::string::npos)
      << finished.err;
}

TEST_F(Ctl, WaitOutlivesARestartOfTheEngine) {
  CtlProcess process(folder_, withContext({"run", "--all", "--wait"}));
  const RequestId id = awaitRequest();
  awaitWatchers(1);
  server_.stop();
  server_.onEngine([id](FakeService& service) {
    service.generation = 2;
    service.change(id, allUp);
    return 0;
  });
  server_.start();
  const Finished finished = process.wait();
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_NE(finished.out.find("3 of 3"), std::string::npos);
}

TEST_F(Ctl, WatchPrintsStatesAsLines) {
  ctl({"run", "--all"});
  const RequestId id = awaitRequest();
  CtlProcess process(folder_, withContext({"request", "watch", id.str(), "--output", "ndjson"}));
  awaitWatchers(1);
  change(id, allUp);
  const Finished finished = process.wait();
  EXPECT_EQ(finished.status, 0);
  const std::string last = finished.out.substr(0, finished.out.size() - 1);
  const auto view = parseJson(last.substr(last.rfind('\n') + 1), "stdout");
  ASSERT_TRUE(view) << finished.out;
  EXPECT_EQ(view->at("state").as_string(), "succeeded");
  EXPECT_EQ(view->at("total").as_int64(), 3);
  EXPECT_EQ(ctl({"request", "watch", "nope"}).status, 1);
}

TEST_F(Ctl, ATerminalGetsOneUpdatingBlock) {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(terminal, 0);
  ::grantpt(terminal);
  ::unlockpt(terminal);
  const int screen = ::open(::ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
  winsize size{24, 60, 0, 0};
  ::ioctl(screen, TIOCSWINSZ, &size);
  CtlProcess process(folder_, withContext({"run", "--all", "--wait"}), {}, {}, screen);
  const RequestId id = awaitRequest();
  awaitWatchers(1);
  change(id, allUp);
  EXPECT_EQ(process.wait().status, 0);
  // With its last writer gone the terminal ends after what was written to it.
  ::close(screen);
  std::string shown;
  char piece[4096];
  for (ssize_t got = 0; (got = ::read(terminal, piece, sizeof piece)) > 0;) {
    shown.append(piece, static_cast<std::size_t>(got));
  }
  EXPECT_NE(shown.find("\x1b[3A"), std::string::npos) << shown;
  EXPECT_NE(shown.find("3/3 up"), std::string::npos) << shown;
  ::close(terminal);
}

TEST_F(Ctl, StopsAndCancels) {
  EXPECT_EQ(ctl({"stop", "--all", "--force", "--wait"}).status, 0);
  EXPECT_TRUE(server_.onEngine([](FakeService& service) { return service.stopped->force; }));
  ctl({"run", "--all"});
  const std::string id = awaitRequest().str();
  const Finished cancelled = ctl({"request", "cancel", id, "--output", "json"});
  EXPECT_NE(cancelled.out.find("\"state\":\"cancelled\""), std::string::npos) << cancelled.out;
  EXPECT_EQ(rowsOf(ctl({"request", "list", "--output", "json"})).size(), 1u);
  EXPECT_EQ(ctl({"request", "show", id}).status, 0);
}

TEST_F(Ctl, ShowsAndChangesHosts) {
  EXPECT_NE(ctl({"host", "list"}).out.find("1.0 GiB"), std::string::npos);
  EXPECT_NE(ctl({"host", "drain", "host1"}).out.find("draining"), std::string::npos);
  EXPECT_NE(ctl({"host", "activate", "host1"}).out.find("ready"), std::string::npos);
  EXPECT_EQ(ctl({"host", "confirm", "host1"}).status, 0);
  EXPECT_NE(ctl({"host", "staging", "host1"}).out.find("half-built"), std::string::npos);
  EXPECT_EQ(ctl({"host", "show", "nope"}).status, 1);
  EXPECT_EQ(ctl({"host", "forget", "host1"}).status, 1);
  EXPECT_NE(ctl({"host", "forget", "host1", "--fenced"}).out.find("forgotten"), std::string::npos);
}

TEST_F(Ctl, ShowsHistoryOverPagesAndFigures) {
  server_.onEngine([](FakeService& service) {
    service.attempts.resize(1500);
    return 0;
  });
  EXPECT_EQ(rowsOf(ctl({"history", "--limit", "1200", "--output", "json"})).size(), 1200u);
  EXPECT_EQ(rowsOf(ctl({"history", "--output", "json", "--since", "2h"})).size(), 100u);
  EXPECT_NE(ctl({"history", "--stats"}).out.find("75.0 %"), std::string::npos);
  EXPECT_EQ(ctl({"history"}).out.find("REQUESTED"), 0u);
}

TEST_F(Ctl, MakesTokensThatWork) {
  const Finished made = ctl({"token", "create", "--role", "viewer", "--file", folder_ / "new"});
  EXPECT_EQ(made.status, 0) << made.err;
  EXPECT_EQ(ctl({"vm", "list", "--token", folder_ / "new"}).status, 0);
  EXPECT_EQ(ctl({"run", "--all", "--token", folder_ / "new"}).status, 4);
  EXPECT_EQ(ctl({"token", "create", "--role", "viewer", "--file", folder_ / "new"}).status, 2);
  EXPECT_EQ(rowsOf(ctl({"token", "list", "--output", "json"})).size(), 2u);
}

TEST_F(Ctl, MakesCertificatesWithoutAnEngine) {
  const std::string folder = folder_ / "pki";
  EXPECT_EQ(CtlProcess(folder_, {"pki", "init", folder}).wait().status, 0);
  EXPECT_EQ(CtlProcess(folder_, {"pki", "issue", folder, "--host", "h1"}).wait().status, 0);
  EXPECT_EQ(CtlProcess(folder_, {"pki", "issue", folder, "--server", "localhost"}).wait().status,
            0);
  EXPECT_TRUE(std::filesystem::exists(folder + "/h1.key"));
  EXPECT_EQ(CtlProcess(folder_, {"pki", "init", folder}).wait().status, 2);
}

}  // namespace
}  // namespace vms::runner::api
