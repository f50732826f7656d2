#include "hostagent/libvirt/domain_claim_xml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schema/vm_spec.h"

namespace vms::hostagent {
namespace {

using testing::HasSubstr;

const VmId kVm{*Uuid::parse("0b0e5ac4-7a4e-4f5c-9d3e-3c1f6a2b9d01")};
const VmId kOtherVm{*Uuid::parse("0b0e5ac4-7a4e-4f5c-9d3e-3c1f6a2b9d02")};

Claim claimOf(VmId vm = kVm) {
  Claim claim;
  claim.ref = AttemptRef{AttemptId{*Uuid::parse("01932b1c-0000-7000-8000-000000000001")}, vm,
                         Epoch{18446744073709551615U}};
  claim.host = "host-1.example";
  claim.boot_id = "boot <&\"' \n id";
  claim.term = Term{7};
  claim.want_paused = true;
  return claim;
}

const std::string kDomain =
    "<domain type='kvm'><name>a &amp; b</name><uuid>0b0e5ac4-7a4e-4f5c-9d3e-3c1f6a2b9d01</uuid>"
    "<memory>1024</memory><vcpu>1</vcpu><description><![CDATA[<x> ]]></description>"
    "<os><cmdline> two  blanks </cmdline></os></domain>";

std::string withMetadata(const std::string& inner) {
  std::string xml = kDomain;
  return xml.insert(xml.find("<os>"), "<metadata>" + inner + "</metadata>");
}

const std::string kElement =
    "<vms:claim xmlns:vms='urn:vmsrunner:claim:1' host='h' boot='b' "
    "vm='0b0e5ac4-7a4e-4f5c-9d3e-3c1f6a2b9d01' attempt='01932b1c-0000-7000-8000-000000000001' "
    "epoch='3' term='4' want='running'/>";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

TEST(DomainClaimXml, WhatWasAddedIsReadBack) {
  for (const std::string& xml : {kDomain, withMetadata(""), withMetadata("<o:x xmlns:o='u'/>")}) {
    const Result<std::string> claimed = addClaim(xml, claimOf());
    ASSERT_TRUE(claimed.has_value());
    EXPECT_EQ(readClaim(*claimed, kVm), claimOf());
    EXPECT_EQ(readClaim(*claimed, kOtherVm), std::nullopt);
  }
  Claim running = claimOf();
  running.want_paused = false;
  EXPECT_EQ(readClaim(*addClaim(kDomain, running), kVm), running);
}

TEST(DomainClaimXml, SaysWhetherTheDomainMayHaveRun) {
  const std::string claimed = *addClaim(kDomain, claimOf());
  const std::size_t begin = claimed.find("<vms:claim");
  const std::string fresh = claimed.substr(begin, claimed.find("/>", begin) + 2 - begin);
  EXPECT_TRUE(saysNeverRan(fresh));
  EXPECT_EQ(readClaimElement(fresh, kVm), claimOf());
  const std::string ran = claimElementOfGuest(claimOf());
  EXPECT_FALSE(saysNeverRan(ran));
  EXPECT_EQ(readClaimElement(ran, kVm), claimOf());
  EXPECT_FALSE(saysNeverRan(kElement)) << "as older agents wrote it";
  EXPECT_FALSE(saysNeverRan("<damaged"));
}

TEST(DomainClaimXml, TheRestStaysAsItWas) {
  const std::string claimed = *addClaim(withMetadata("<o:x xmlns:o='u'>t</o:x>"), claimOf());
  EXPECT_THAT(claimed, HasSubstr("<name>a &amp; b</name>"));
  EXPECT_THAT(claimed, HasSubstr("<![CDATA[<x> ]]>"));
  EXPECT_THAT(claimed, HasSubstr("<cmdline> two  blanks </cmdline>"));
  EXPECT_THAT(claimed, HasSubstr("<o:x xmlns:o=\"u\">t</o:x>"));
}

TEST(DomainClaimXml, AClaimedDomainIsNoUsersDocument) {
  const std::string claimed = *addClaim(kDomain, claimOf());
  ASSERT_TRUE(parseDomainXml(kDomain).has_value());
  EXPECT_FALSE(parseDomainXml(claimed).has_value());
  EXPECT_EQ(addClaim(claimed, claimOf()).error().error_class, ErrorClass::Invalid);
  EXPECT_EQ(addClaim("<network/>", claimOf()).error().error_class, ErrorClass::Invalid);
  EXPECT_EQ(addClaim("<domain>", claimOf()).error().error_class, ErrorClass::Invalid);
}

TEST(DomainClaimXml, ReadsOtherSpellingsOfTheSameElement) {
  for (const std::string& element :
       {kElement, replaced(replaced(kElement, "vms:claim", "n:claim"), "xmlns:vms", "xmlns:n"),
        replaced(replaced(kElement, "vms:claim", "claim"), "xmlns:vms", "xmlns")}) {
    const auto whole = readClaim(withMetadata("\n  " + element + "\n"), kVm);
    ASSERT_TRUE(whole.has_value()) << element;
    EXPECT_EQ(whole->ref.epoch, Epoch{3});
    EXPECT_EQ(readClaimElement(element, kVm), whole);
  }
  const std::string bare =
      replaced(replaced(kElement, "vms:claim", "claim"), " xmlns:vms='urn:vmsrunner:claim:1'", "");
  EXPECT_TRUE(readClaimElement(bare, kVm).has_value()) << "libvirt drops the declaration";
  EXPECT_EQ(readClaim(withMetadata(bare), kVm), std::nullopt) << "in no namespace of ours";
}

TEST(DomainClaimXml, WhatIsNotSurelyOursIsNotOurs) {
  for (const auto& [from, to] : std::initializer_list<std::pair<std::string, std::string>>{
           {"claim:1", "claim:2"},
           {"vms:claim ", "vms:other "},
           {"host='h'", "host=''"},
           {"host='h'", "host='UPPER_case'"},
           {"boot='b'", ""},
           {"3c1f6a2b9d01'", "3c1f6a2b9d02'"},
           {"vm='0b0e5ac4", "vm='zz"},
           {"attempt='01932b1c-0000-7000-8000-000000000001'", ""},
           {"01932b1c-0000-7000-8000-000000000001", "00000000-0000-0000-0000-000000000000"},
           {"epoch='3'", "epoch='0'"},
           {"epoch='3'", "epoch='-1'"},
           {"epoch='3'", "epoch='3x'"},
           {"epoch='3'", "epoch='18446744073709551616'"},
           {"term='4'", "term=''"},
           {"want='running'", "want='RUNNING'"},
       }) {
    const std::string damaged = replaced(kElement, from, to);
    EXPECT_EQ(readClaimElement(damaged, kVm), std::nullopt) << damaged;
    EXPECT_EQ(readClaim(withMetadata(damaged), kVm), std::nullopt) << damaged;
  }
  EXPECT_EQ(readClaimElement("", kVm), std::nullopt);
  EXPECT_EQ(readClaimElement("<<", kVm), std::nullopt);
  EXPECT_EQ(readClaim(kDomain, kVm), std::nullopt);
  EXPECT_EQ(readClaim(withMetadata(kElement + kElement), kVm), std::nullopt);
}

TEST(DomainClaimXml, NoPrefixOfAnElementIsAClaim) {
  for (std::size_t length = 0; length < kElement.size(); ++length) {
    EXPECT_EQ(readClaimElement(kElement.substr(0, length), kVm), std::nullopt);
  }
}

TEST(DomainClaimXml, FindsTheHostsUuid) {
  EXPECT_EQ(hostUuidOf("<capabilities><host><uuid>abc</uuid></host></capabilities>"), "abc");
  EXPECT_EQ(hostUuidOf("<capabilities/>"), "");
  EXPECT_EQ(hostUuidOf("no xml"), "");
}

}  // namespace
}  // namespace vms::hostagent
