#include "hostagent/libvirt/libvirt_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vms::hostagent {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::vector<std::string> linesFor(const LibvirtDaemonFacts& facts) {
  std::vector<std::string> lines;
  for (const LibvirtFinding& finding : judgeLibvirt(facts, LibvirtOptions())) {
    lines.push_back(formatFinding(finding));
  }
  return lines;
}

LibvirtDaemonFacts tuned() {
  LibvirtDaemonFacts facts;
  facts.version = 9'000'000;
  facts.daemon_config = "/etc/libvirt/libvirtd.conf";
  facts.daemon = parseLibvirtConfig(
      "min_workers = 32\nmax_workers = 32\nprio_workers = 8\nmax_client_requests = 64\n");
  facts.qemu = parseLibvirtConfig("capability_filters = [ \"cpu-unavailable-features\" ]\n");
  return facts;
}

TEST(LibvirtConfig, IsRead) {
  const auto settings = parseLibvirtConfig(
      "# a = 1\n\n  b=2\nc = \"x y\"\nlist = [\n  \"1\",\n  # no\n  \"2\"\n]\nd = 3");
  EXPECT_EQ(settings, (std::map<std::string, std::string>{
                          {"b", "2"}, {"c", "\"x y\""}, {"list", "[\"1\",\"2\"]"}, {"d", "3"}}));
  EXPECT_THAT(parseLibvirtConfig("nonsense\n]\n"), IsEmpty());
}

TEST(LibvirtCheck, HasNothingToSayAboutATunedDaemon) { EXPECT_THAT(linesFor(tuned()), IsEmpty()); }

TEST(LibvirtCheck, NamesTheLineAndTheFile) {
  LibvirtDaemonFacts facts = tuned();
  facts.daemon["max_client_requests"] = "4";
  EXPECT_THAT(linesFor(facts),
              Contains(HasSubstr("put 'max_client_requests = 5' into /etc/libvirt/libvirtd.conf")));
  facts = tuned();
  facts.daemon["max_workers"] = "16";
  EXPECT_THAT(linesFor(facts), Contains(HasSubstr("'max_workers = 20'")));
  facts = tuned();
  facts.daemon.erase("prio_workers");
  EXPECT_THAT(linesFor(facts), Contains(HasSubstr("'prio_workers = 8'")));
  facts = tuned();
  facts.qemu.clear();
  EXPECT_THAT(linesFor(facts), Contains(HasSubstr("into /etc/libvirt/qemu.conf")));
  facts = tuned();
  facts.has_virtlogd = false;
  EXPECT_THAT(linesFor(facts), Contains(HasSubstr("'stdio_handler = \"file\"'")));
  facts.qemu["stdio_handler"] = "\"file\"";
  EXPECT_THAT(linesFor(facts), IsEmpty());
  facts.kvm_exists = true;
  EXPECT_THAT(linesFor(facts), Contains(HasSubstr("/dev/kvm")));
}

TEST(LibvirtCheck, KnowsWhichLibvirtsGrowTheirPoolTooLate) {
  LibvirtDaemonFacts facts = tuned();
  facts.daemon["min_workers"] = "5";
  EXPECT_THAT(linesFor(facts), Contains(HasSubstr("'min_workers = 32'")));
  facts.version = 11'004'000;
  EXPECT_THAT(linesFor(facts), IsEmpty());
}

TEST(LibvirtCheck, ExplainsAnUntouchedDaemon) {
  LibvirtDaemonFacts facts;
  facts.daemon_config = "/etc/libvirt/libvirtd.conf";
  EXPECT_THAT(linesFor(facts), SizeIs(3)) << "min_workers, prio_workers, capability_filters";
}

TEST(LibvirtCheck, SaysWhyTheDaemonCannotBeReached) {
  LibvirtOptions options;
  options.uri = "qemu+unix:///system?socket=/nonexistent";
  const auto result = checkLibvirt(options);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().error_class, ErrorClass::HostNotReady);
}

}  // namespace
}  // namespace vms::hostagent
