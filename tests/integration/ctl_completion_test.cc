#include <gmock/gmock.h>

#include "tests/integration/ctl_fixture.h"

/// The completion script in a real bash, as readline would call it.
namespace vms::runner::api {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class CtlCompletion : public Ctl {
 protected:
  /// What bash would offer after `line`; the program is the one under test.
  std::vector<std::string> offered(const std::string& line) {
    const std::string script = folder_ / "vmsctl.bash";
    const std::string output = folder_ / "offered";
    std::ofstream(script) << CtlProcess(folder_, {"completion", "bash"}).wait().out
                          << "complete -p vmsctl >/dev/null || exit 9\n"
                          << "COMP_LINE=$1 COMP_POINT=${#1}\n"
                          << "_vmsctl\n"
                          << "printf '%s\\n' \"${COMPREPLY[@]}\"\n";
    const char* bin = std::getenv("VMS_BIN_DIR");
    const std::string command = "PATH='" + std::string(bin == nullptr ? "bin" : bin) +
                                "':\"$PATH\" HOME=/nonexistent bash --norc '" + script + "' '" +
                                line + "' > '" + output + "' 2>&1";
    EXPECT_EQ(std::system(command.c_str()), 0) << line;
    std::vector<std::string> words;
    std::ifstream stream(output);
    for (std::string word; std::getline(stream, word);) {
      if (!word.empty()) words.push_back(word);
    }
    return words;
  }
  std::string vmsctl() const { return "vmsctl --context " + std::string(folder_ / "ctl.toml"); }
};

TEST_F(CtlCompletion, CommandsOptionsAndTheirWords) {
  EXPECT_THAT(offered("vmsctl ho"), ElementsAre("host"));
  EXPECT_THAT(offered("vmsctl vm "),
              UnorderedElementsAre("define", "list", "show", "set", "undefine"));
  EXPECT_THAT(offered("vmsctl run --dea"), ElementsAre("--deadline"));
  EXPECT_THAT(offered("vmsctl run --out"), ElementsAre("--output"));
  EXPECT_THAT(offered("vmsctl vm set x --ha "), UnorderedElementsAre("restart", "off"));
  EXPECT_THAT(offered("vmsctl --output nd"), ElementsAre("ndjson"));
  EXPECT_THAT(offered("vmsctl vm list --output=c"), ElementsAre("csv"));
  EXPECT_THAT(offered("vmsctl completion "), ElementsAre("bash"));
  EXPECT_THAT(offered("vmsctl complete"), ElementsAre());
}

TEST_F(CtlCompletion, NamesOfTheEngineThatTheLineNames) {
  EXPECT_THAT(offered(vmsctl() + " run w"), UnorderedElementsAre("web1", "web2"));
  EXPECT_THAT(offered(vmsctl() + " run web1 d"), ElementsAre("db"));
  EXPECT_THAT(offered(vmsctl() + " host drain "), ElementsAre("host1"));
  EXPECT_THAT(offered(vmsctl() + " run web1 --avoid h"), ElementsAre("host1"));
  ctl({"run", "--all"});
  const std::string id = awaitRequest().str();
  EXPECT_THAT(offered(vmsctl() + " request watch "), ElementsAre(id));
}

TEST_F(CtlCompletion, SaysNothingWithoutAnEngine) {
  EXPECT_THAT(offered("vmsctl run w"), IsEmpty());
  EXPECT_THAT(offered("vmsctl --server https://127.0.0.1:1 host show "), IsEmpty());
  EXPECT_THAT(offered("vmsctl --context /nonexistent run w"), IsEmpty());
}

TEST_F(CtlCompletion, FilesWithBlanksStayWhole) {
  std::ofstream(folder_ / "my vm.xml") << "x";
  EXPECT_THAT(offered("vmsctl vm define " + std::string(folder_ / "my")),
              Contains(std::string(folder_ / "my vm.xml")));
}

TEST_F(CtlCompletion, ANameIsNeverACommandForTheShell) {
  server_.onEngine([](FakeService& service) {
    service.addVm("w$(touch pwned)");
    service.addVm("w`id`");
  });
  EXPECT_THAT(offered(vmsctl() + " run w"), UnorderedElementsAre("web1", "web2"));
}

}  // namespace
}  // namespace vms::runner::api
