#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/App.hpp>
#include <functional>

#include "runner/ctl/command_line.h"
#include "schema/base/cli_text.h"

namespace vms::runner::ctl {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<std::string>;

class CommandLine : public ::testing::Test {
 protected:
  void eachCommand(const std::function<void(const CLI::App&)>& each) {
    std::function<void(const CLI::App&)> walk = [&](const CLI::App& app) {
      each(app);
      for (const CLI::App* command : commandsOf(app)) walk(*command);
    };
    walk(*app_);
  }

  Settings settings_;
  Action action_;
  std::unique_ptr<CLI::App> app_ = makeCommandLine(settings_, action_);
};

TEST_F(CommandLine, EveryCommandHasAPurposeAndEveryLeafAnExample) {
  eachCommand([](const CLI::App& app) {
    EXPECT_FALSE(app.get_description().empty()) << app.get_name();
    EXPECT_EQ(app.get_description().find('\n'), std::string::npos) << app.get_name();
    if (!commandsOf(app).empty()) return;
    EXPECT_THAT(app.help(), HasSubstr("Examples:\n  ")) << app.get_name();
  });
}

TEST_F(CommandLine, EveryOptionIsExplainedAndNamesItsValue) {
  eachCommand([](const CLI::App& app) {
    for (const CLI::Option* option : optionsOf(app)) {
      EXPECT_FALSE(option->get_description().empty()) << option->get_name();
      EXPECT_NE(valueNameOf(*option), "TEXT") << app.get_name() << " " << option->get_name();
    }
  });
}

TEST_F(CommandLine, LaterCommandsAreNotAdvertised) {
  for (const char* name : {"suspend", "migrate", "fence", "disarm", "plan"}) {
    eachCommand([name](const CLI::App& app) { EXPECT_NE(app.get_name(), name); });
  }
}

TEST_F(CommandLine, SaysWhatIsUnknownAndWhatWasMeant) {
  const std::vector<std::pair<Words, std::string>> cases = {
      {{"stpo"}, "there is no command 'stpo'; did you mean 'stop'? see 'vmsctl --help'"},
      {{"vm", "lst"}, "there is no command 'lst'; did you mean 'list'? see 'vmsctl vm --help'"},
      {{"--server", "stpo", "hist"}, "there is no command 'hist'; did you mean 'history'?"},
      {{"run", "a", "--dedline", "5s"}, "no option '--dedline'; did you mean '--deadline'?"},
      {{"run", "a", "--servr=x"}, "no option '--servr'; did you mean '--server'?"},
      {{"frobnicate"}, "there is no command 'frobnicate'; see 'vmsctl --help'"},
      {{"suspend", "web1"}, "this version of VmsRunner cannot 'suspend' yet"},
      {{"host", "fence", "h1"}, "this version of VmsRunner cannot 'host fence' yet"},
      {{"ha", "disarm"}, "this version of VmsRunner cannot 'ha' yet"},
      {{"run", "a"}, "the parser's words; see 'vmsctl run --help'"},
      {{"x\x1b[2J"}, "there is no command 'x [2J'"}};
  for (const auto& [words, expected] : cases) {
    EXPECT_THAT(complaintOf(*app_, words, "the parser's words"), HasSubstr(expected));
  }
}

TEST_F(CommandLine, AWordThatIsFarFromAllIsNotGuessed) {
  const Words known = {"run", "stop", "request"};
  EXPECT_EQ(nearestOf("rnu", known), "run");
  EXPECT_EQ(nearestOf("req", known), "request");
  EXPECT_EQ(nearestOf("zzz", known), "");
  EXPECT_EQ(nearestOf("", known), "");
  EXPECT_EQ(nearestOf(std::string(100'000, 'r'), known), "");
}

TEST(PlainComplaint, NamesWhatIsWrongWithADaemonsCommandLine) {
  const std::vector<std::pair<Words, std::string>> cases = {
      {{}, "--config is required"},
      {{"--config"}, "--config has no value; give it one"},
      {{"--config", "a", "--config", "b"}, "--config is given more than once; give it once"},
      {{"--confg", "a"}, "there is no option '--confg'"},
      {{"--config", "a", "b"}, "this program takes no 'b'"},
      {{"b"}, "this program takes no 'b'"}};
  for (const auto& [words, expected] : cases) {
    CLI::App app("a daemon", "daemon");
    std::string path;
    app.add_option("--config", path)->required()->type_name("FILE");
    Words reversed(words.rbegin(), words.rend());
    std::string complaint;
    try {
      app.parse(reversed);
    } catch (const CLI::ParseError& error) {
      complaint = plainComplaint(app, error.what());
    }
    EXPECT_EQ(complaint, expected);
  }
}

TEST_F(CommandLine, TheManualHoldsEveryCommandOptionAndExample) {
  ManualPage page;
  page.sections = {{"NOTES", "A 'quoted' \\ line.\n\n  .verbatim -x\n"}};
  const std::string text = manualOf(*app_, page);
  eachCommand([&text](const CLI::App& app) {
    if (!commandsOf(app).empty()) return;
    EXPECT_THAT(text, HasSubstr("\n" + app.get_description() + ".\n"));
  });
  EXPECT_THAT(text, HasSubstr("\\fB\\-\\-deadline TIME\\fR"));
  EXPECT_THAT(text, HasSubstr("vmsctl run \\-\\-all \\-\\-wait"));
  EXPECT_THAT(text, HasSubstr("A \\(aqquoted\\(aq \\e line."));
  EXPECT_THAT(text, HasSubstr("\n\\&.verbatim \\-x\n"));
}

}  // namespace
}  // namespace vms::runner::ctl
