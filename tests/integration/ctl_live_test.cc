#include <gmock/gmock.h>

#include <csignal>

#include "tests/integration/ctl_fixture.h"

/// What vmsctl shows while it waits, and what an interrupt does to it.
namespace vms::runner::api {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class CtlLive : public Ctl {};

TEST_F(CtlLive, AnInterruptedWaitSaysWhatGoesOn) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const std::size_t before =
        server_.onEngine([](FakeService& s) { return s.requestIds().size(); });
    CtlProcess process(folder_, withContext({"run", "--all", "--wait"}));
    const std::string id = awaitRequest(before + 1).str();
    while (process.errorsSoFar().find("0/3 up") == std::string::npos) std::this_thread::yield();
    process.send(signal);
    const Finished finished = process.wait();
    EXPECT_EQ(finished.status, 130);
    EXPECT_EQ(finished.out, "");
    EXPECT_THAT(finished.err, HasSubstr("request " + id + " goes on"));
    EXPECT_THAT(finished.err, HasSubstr("vmsctl request watch " + id));
    EXPECT_THAT(finished.err, HasSubstr("vmsctl request cancel " + id));
  }
}

TEST_F(CtlLive, StopShowsItsTableOnceAllHasStopped) {
  server_.onEngine([](FakeService& service) {
    for (auto& [name, view] : service.vms) view.state = "running";
  });
  const Finished finished = ctl({"stop", "--all", "--wait"});
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_THAT(finished.err, HasSubstr("0/3 stopped  stopping 3"));
  EXPECT_THAT(finished.err, HasSubstr("3/3 stopped"));
  EXPECT_THAT(finished.out, Not(HasSubstr("stopping")));
  EXPECT_THAT(finished.out, HasSubstr("web2  stopped"));
}

TEST_F(CtlLive, WatchPrintsALineForEachViewWithoutATerminal) {
  const Finished finished = ctl({"watch", "--count", "3", "--interval", "100ms"});
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_EQ(std::count(finished.out.begin(), finished.out.end(), '\n'), 3) << finished.out;
  EXPECT_THAT(finished.out, HasSubstr("hosts 1/1 ready"));
  EXPECT_EQ(finished.out.find('\x1b'), std::string::npos);
  const Finished json = ctl({"watch", "--count", "1", "--output", "ndjson"});
  EXPECT_TRUE(parseJson(json.out, "stdout")) << json.out;
  EXPECT_EQ(ctl({"watch", "--interval", "1ms"}).status, 2);
  EXPECT_EQ(ctl({"watch", "--server", "https://127.0.0.1:1"}).status, 5);
}

/// One view after another, as JSON, until one is as wanted.
class Views {
 public:
  Views() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    in_ = ends[0];
    out_ = ends[1];
  }
  ~Views() {
    ::close(in_);
    ::close(out_);
  }
  Views(const Views&) = delete;
  Views& operator=(const Views&) = delete;
  int output() const { return out_; }

  bool await(const std::function<bool(const json::object&)>& wanted) {
    for (;;) {
      const std::size_t end = rest_.find('\n');
      if (end == std::string::npos) {
        std::string piece(1 << 16, '\0');
        const ssize_t got = ::read(in_, piece.data(), piece.size());
        if (got <= 0) return false;
        rest_.append(piece, 0, static_cast<std::size_t>(got));
        continue;
      }
      const auto view = parseJson(rest_.substr(0, end), "view");
      rest_.erase(0, end + 1);
      if (view && wanted(view->as_object())) return true;
    }
  }

 private:
  int in_ = -1, out_ = -1;
  std::string rest_;
};

EventBatch hostIs(const char* state) {
  EventBatch batch;
  HostEvent host;
  host.host = "host1";
  host.state = state;
  batch.hosts.push_back(host);
  batch.complete = true;
  return batch;
}

std::function<bool(const json::object&)> showsHostAs(const char* state) {
  return [state](const json::object& view) {
    return view.at("hosts").at(0).at("state") == json::value(state);
  };
}

TEST_F(CtlLive, WatchFollowsTheEventsAndGoesOnAfterABreak) {
  const auto tell = [this](const char* state) {
    server_.onEngine([state](FakeService& service) {
      service.tell(hostIs(state));
      return 0;
    });
  };
  Views views;
  CtlProcess process(folder_, withContext({"watch", "--interval", "100ms", "--output", "ndjson"}),
                     {}, {}, -1, views.output());
  awaitWatchers(1);
  // Only the stream says so: the list goes on telling "ready".
  tell("draining");
  ASSERT_TRUE(views.await(showsHostAs("draining")));
  server_.stop();
  server_.start();
  awaitWatchers(1);
  tell("quarantined");
  ASSERT_TRUE(views.await(showsHostAs("quarantined")));
  process.send(SIGINT);
  const Finished finished = process.wait();
  EXPECT_EQ(finished.status, 0) << finished.err;
}

TEST_F(CtlLive, WatchAsksWhenItCannotFollow) {
  server_.onEngine([](FakeService& service) {
    service.refuse_watching = Error(ErrorClass::Unavailable, "128 clients watch all events");
  });
  const Finished finished = ctl({"watch", "--count", "3", "--interval", "100ms"});
  EXPECT_EQ(finished.status, 0);
  EXPECT_EQ(finished.err,
            "vmsctl: the engine's events cannot be followed: 128 clients watch all events; asking "
            "every 100ms instead\n");
  EXPECT_EQ(std::count(finished.out.begin(), finished.out.end(), '\n'), 3) << finished.out;
}

TEST_F(CtlLive, WatchBringsTheTerminalBack) {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(terminal, 0);
  ::grantpt(terminal);
  ::unlockpt(terminal);
  const int screen = ::open(::ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
  std::string shown;
  {
    CtlProcess process(folder_, withContext({"watch", "--interval", "100ms"}), {"TERM=xterm"}, {},
                       -1, screen);
    const auto read = [&]() {
      std::string piece(1 << 16, '\0');
      const ssize_t got = ::read(terminal, piece.data(), piece.size());
      if (got > 0) shown.append(piece, 0, static_cast<std::size_t>(got));
      return got > 0;
    };
    while (shown.find("Recent failures") == std::string::npos) ASSERT_TRUE(read());
    process.send(SIGINT);
    while (shown.find("\x1b[?1049l") == std::string::npos) ASSERT_TRUE(read());
    const Finished finished = process.wait();
    EXPECT_EQ(finished.status, 0) << finished.err;
  }
  EXPECT_EQ(shown.find("\x1b[?1049h"), 0u);
  EXPECT_THAT(shown, HasSubstr("\x1b[?25h"));
  EXPECT_THAT(shown, HasSubstr("host1"));
  ::close(screen);
  ::close(terminal);
}

TEST_F(CtlLive, ADryRunSumsUpPerHost) {
  EXPECT_THAT(ctl({"run", "--all", "--dry-run"}).out,
              HasSubstr("\n3 of 3 VMs would start: 3 on host1\n"));
  server_.onEngine([](FakeService& service) { service.hosts.clear(); });
  const Finished none = ctl({"run", "--all", "--dry-run"});
  EXPECT_EQ(none.status, 1);
  EXPECT_THAT(none.out, HasSubstr("no host is there"));
  EXPECT_THAT(none.out, HasSubstr("\n0 of 3 VMs would start\n"));
}

TEST_F(CtlLive, ADryRunCountsWhatRunsAlreadyAsUp) {
  server_.onEngine([](FakeService& service) {
    service.vms.at("web1").state = service.vms.at("web2").state = "running";
  });
  const Finished some = ctl({"run", "--all", "--dry-run"});
  EXPECT_EQ(some.status, 0);
  EXPECT_THAT(some.out, HasSubstr("\n1 of 3 VMs would start: 1 on host1; 2 run already or are "
                                  "being started\n"));
}

TEST_F(CtlLive, ShowsVmsOfASelector) {
  const json::array rows =
      rowsOf(ctl({"vm", "show", "--selector", "tier=web", "--output", "json"}));
  EXPECT_EQ(rows.size(), 2u);
  const Finished xml = ctl({"vm", "show", "--all", "--xml"});
  EXPECT_EQ(xml.out.find("<domains>\n<domain"), 0u) << xml.out;
}

TEST_F(CtlLive, SelectorsGoToTheEngineAsTheyAre) {
  EXPECT_EQ(ctl({"stop", "--selector", "tier=web", "--selector", "zone=a"}).status, 0);
  server_.onEngine([](FakeService& service) {
    const std::map<std::string, std::string> wanted = {{"tier", "web"}, {"zone", "a"}};
    EXPECT_EQ(service.stopped->selection.selector, wanted);
    EXPECT_TRUE(service.stopped->selection.vms.empty());
  });
}

TEST_F(CtlLive, HistoryIsExportedWholeInEveryForm) {
  server_.onEngine([](FakeService& service) { service.attempts.resize(2500); });
  EXPECT_EQ(rowsOf(ctl({"history", "--limit", "0", "--output", "json"})).size(), 2500u);
  const std::string lines = ctl({"history", "--limit", "0", "--output", "ndjson"}).out;
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2500);
  const std::string csv = ctl({"history", "--limit", "2000", "--output", "csv"}).out;
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 2001);
  server_.onEngine([](FakeService& service) { service.attempts.clear(); });
  EXPECT_EQ(rowsOf(ctl({"history", "--output", "json"})).size(), 0u);
}

TEST_F(CtlLive, ColoursComeWhenAskedFor) {
  EXPECT_EQ(ctl({"vm", "list"}).out.find('\x1b'), std::string::npos);
  EXPECT_THAT(ctl({"vm", "list", "--color", "always"}).out, HasSubstr("\x1b[1mNAME"));
  EXPECT_EQ(ctl({"vm", "list", "--color", "never"}).out.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace vms::runner::api
