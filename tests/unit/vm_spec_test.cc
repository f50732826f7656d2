#include "schema/vm_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "schema/xml_reader.h"

namespace vms {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr std::string_view kUuid = "0b0e5ac4-7a4e-4f5c-9d3e-3c1f6a2b9d01";

std::string domain(std::string_view body, std::string_view attributes = " type='kvm'") {
  return "<domain" + std::string(attributes) + ">" + std::string(body) + "</domain>";
}

std::string body(std::string_view memory = "<memory>1024</memory>",
                 std::string_view vcpu = "<vcpu>2</vcpu>", std::string_view name = "web-1",
                 std::string_view uuid = kUuid) {
  return "<name>" + std::string(name) + "</name><uuid>" + std::string(uuid) + "</uuid>" +
         std::string(memory) + std::string(vcpu);
}

VmSpec accepted(const std::string& text) {
  const auto result = parseDomainXml(text);
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message) << "\n" << text;
  return result && result->size() == 1 ? result->front().spec : VmSpec{};
}

Error refused(const std::string& text, const DomainXmlLimits& limits = {}) {
  const auto result = parseDomainXml(text, limits);
  EXPECT_FALSE(result.has_value()) << text.substr(0, 400);
  return result ? Error{} : result.error();
}

std::string whyRefused(const std::string& text) {
  const Error error = refused(text);
  EXPECT_EQ(error.error_class, ErrorClass::Invalid) << error.message;
  EXPECT_THAT(error.message, StartsWith("line "));
  return error.message;
}

std::uint64_t memoryOf(std::string_view memory) { return accepted(domain(body(memory))).memory; }

TEST(DomainXml, ReadsWhatTheEngineNeeds) {
  const VmSpec spec = accepted(domain(body()));
  EXPECT_EQ(spec.id.str(), kUuid);
  EXPECT_EQ(spec.name, "web-1");
  EXPECT_EQ(spec.domain_type, "kvm");
  EXPECT_EQ(spec.memory, 1024U * 1024U);
  EXPECT_EQ(spec.vcpus, 2U);
}

TEST(DomainXml, KeepsEachDomainExactlyAsWritten) {
  const std::string first = domain(
      "\n  <!-- kept --><name>a</name>\t<uuid>0b0e5ac4-7a4e-4f5c-9d3e-3c1f6a2b9d01</uuid>"
      "<memory unit='MiB' >16</memory><vcpu>1</vcpu><os><cmdline>a &amp; b &#65;</cmdline></os>"
      "<description><![CDATA[<x>]]></description>\r\n");
  const std::string second = domain(
      body("<memory>1</memory>", "<vcpu>1</vcpu>", "b", "0b0e5ac4-7a4e-4f5c-9d3e-3c1f6a2b9d02"));
  const auto result = parseDomainXml("<?xml version='1.0'?>\n<domains>\n " + first + "\n" + second +
                                     "</domains>\n");
  ASSERT_TRUE(result.has_value()) << result.error().message;
  ASSERT_EQ(result->size(), 2U);
  EXPECT_EQ(result->at(0).xml, first);
  EXPECT_EQ(result->at(1).xml, second);
}

TEST(DomainXml, KnowsLibvirtsUnits) {
  EXPECT_EQ(memoryOf("<memory>3</memory>"), 3U << 10U);
  EXPECT_EQ(memoryOf("<memory unit='b'>2048</memory>"), 2048U);
  EXPECT_EQ(memoryOf("<memory unit='bytes'>2049</memory>"), 3072U) << "rounds up to KiB";
  EXPECT_EQ(memoryOf("<memory unit='KB'>1024</memory>"), 1'024'000U);
  EXPECT_EQ(memoryOf("<memory unit='k'>4</memory>"), 4096U);
  EXPECT_EQ(memoryOf("<memory unit='KiB'>4</memory>"), 4096U);
  EXPECT_EQ(memoryOf("<memory unit='MB'>64</memory>"), 64'000'000U);
  EXPECT_EQ(memoryOf("<memory unit='M'>16</memory>"), 16U << 20U);
  EXPECT_EQ(memoryOf("<memory unit='MiB'> 16 </memory>"), 16U << 20U);
  EXPECT_EQ(memoryOf("<memory unit='GB'>1</memory>"), 1'000'000'512U) << "rounds up to KiB";
  EXPECT_EQ(memoryOf("<memory unit='GiB'>2</memory>"), std::uint64_t{2} << 30U);
  EXPECT_EQ(memoryOf("<memory unit='gib'>2</memory>"), std::uint64_t{2} << 30U);
  EXPECT_EQ(memoryOf("<memory unit='TB'>1</memory>"), 1'000'000'000'000U);
  EXPECT_EQ(memoryOf("<memory unit='TiB'>1024</memory>"), std::uint64_t{1} << 50U);
}

TEST(DomainXml, RefusesBadMemory) {
  EXPECT_THAT(whyRefused(domain("\n\n" + body("<memory unit='zz'>1</memory>"))),
              AllOf(StartsWith("line 3: <memory>: unit 'zz' is not known"), HasSubstr("MiB")));
  for (const std::string_view memory :
       {"<memory>0</memory>", "<memory>-1</memory>", "<memory>1.5</memory>", "<memory/>",
        "<memory>1 2</memory>", "<memory>0x10</memory>", "<memory>16MiB</memory>",
        "<memory>99999999999999999999</memory>", "<memory unit='E'>18446744073709551615</memory>",
        "<memory unit='TiB'>1025</memory>", "<memory>1<b/></memory>",
        "<memory xmlns='x'>1</memory>", "<memory unit=''>0</memory>", "",
        "<memory>1</memory><memory>1</memory>"}) {
    EXPECT_THAT(whyRefused(domain(body(memory))), HasSubstr("memory")) << memory;
  }
}

TEST(DomainXml, CurrentMemoryAndCurrentVcpusDoNotCount) {
  const VmSpec spec = accepted(
      domain(body("<memory unit='MiB'>64</memory><currentMemory unit='MiB'>16</currentMemory>",
                  "<vcpu placement='static' current='1'>4</vcpu>")));
  EXPECT_EQ(spec.memory, 64U << 20U);
  EXPECT_EQ(spec.vcpus, 4U);
}

TEST(DomainXml, RefusesBadVcpus) {
  for (const std::string_view vcpu : {"", "<vcpu/>", "<vcpu>0</vcpu>", "<vcpu>1025</vcpu>",
                                      "<vcpu>two</vcpu>", "<vcpu>1</vcpu><vcpu>1</vcpu>"}) {
    EXPECT_THAT(whyRefused(domain(body("<memory>1</memory>", vcpu))), HasSubstr("vcpu")) << vcpu;
  }
  EXPECT_EQ(accepted(domain(body("<memory>1</memory>", "<vcpu>1024</vcpu>"))).vcpus, 1024U);
}

TEST(DomainXml, RefusesBadNames) {
  const std::string longest(128, 'n');
  EXPECT_EQ(accepted(domain(body("<memory>1</memory>", "<vcpu>1</vcpu>", longest))).name, longest);
  for (const std::string& name :
       {std::string(), longest + "n", std::string("a/b"), std::string("a&#10;b"),
        std::string("a&#x7f;b"), std::string(" a"), std::string("."), std::string("..")}) {
    EXPECT_THAT(whyRefused(domain(body("<memory>1</memory>", "<vcpu>1</vcpu>", name))),
                HasSubstr("<name>"))
        << name;
  }
}

TEST(DomainXml, RefusesBadUuids) {
  for (const std::string_view uuid :
       {"", "x", "00000000-0000-0000-0000-000000000000", "0b0e5ac47a4e4f5c9d3e3c1f6a2b9d01x"}) {
    EXPECT_THAT(whyRefused(domain(body("<memory>1</memory>", "<vcpu>1</vcpu>", "n", uuid))),
                HasSubstr("<uuid>"))
        << uuid;
  }
  const VmSpec upper = accepted(domain(
      body("<memory>1</memory>", "<vcpu>1</vcpu>", "n", "0B0E5AC4-7A4E-4F5C-9D3E-3C1F6A2B9D01")));
  EXPECT_EQ(upper.id.str(), kUuid);
}

TEST(DomainXml, RefusesOtherRoots) {
  EXPECT_THAT(whyRefused("<network/>"), HasSubstr("<network>"));
  EXPECT_THAT(whyRefused("<domains/>"), HasSubstr("contains no <domain>"));
  EXPECT_THAT(whyRefused("<domains>" + domain(body()) + "<pool/></domains>"), HasSubstr("<pool>"));
  EXPECT_THAT(whyRefused(""), HasSubstr("no element"));
  EXPECT_THAT(whyRefused(domain(body(), "")), HasSubstr("type"));
  EXPECT_THAT(whyRefused(domain(body(), " type='kvm' xmlns='urn:x'")), HasSubstr("namespace"));
}

TEST(DomainXml, RefusesDuplicatesWithinADocument) {
  const std::string one = domain(body());
  const std::string same_name = domain(body("<memory>1</memory>", "<vcpu>1</vcpu>", "web-1",
                                            "0b0e5ac4-7a4e-4f5c-9d3e-3c1f6a2b9d02"));
  const std::string same_uuid = domain(body("<memory>1</memory>", "<vcpu>1</vcpu>", "web-2"));
  EXPECT_THAT(whyRefused("<domains>\n" + one + "\n" + same_name + "</domains>"),
              StartsWith("line 3: <name>: 'web-1' belongs to the domain of line 2"));
  EXPECT_THAT(whyRefused("<domains>\n" + one + "\n" + same_uuid + "</domains>"),
              StartsWith("line 3: <uuid>: " + std::string(kUuid)));
}

TEST(DomainXml, RefusesAClaimOfOurs) {
  for (const std::string_view claim :
       {"<vms:claim xmlns:vms='urn:vmsrunner:claim:1'/>", "<claim xmlns='urn:vmsrunner:claim:1'/>",
        "<x xmlns:a='urn:vmsrunner&#58;claim:1'><y><a:claim/></y></x>"}) {
    EXPECT_THAT(whyRefused(domain(body() + "<metadata>" + std::string(claim) + "</metadata>")),
                HasSubstr("claim"));
  }
  accepted(domain(body() + "<metadata><a:b xmlns:a='urn:other'>1</a:b></metadata>"));
}

TEST(DomainXml, RefusesDocumentTypesAndEntities) {
  const std::string laughs =
      "<?xml version='1.0'?><!DOCTYPE lolz [<!ENTITY lol 'lol'><!ENTITY lol2 '&lol;&lol;&lol;'>]>" +
      domain(body() + "<description>&lol2;</description>");
  EXPECT_THAT(whyRefused(laughs), HasSubstr("DOCTYPE"));
  const std::string file =
      "<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>" + domain(body());
  EXPECT_THAT(whyRefused(file), HasSubstr("DOCTYPE"));
  EXPECT_THAT(whyRefused(domain(body() + "<!ELEMENT a ANY>")), HasSubstr("not accepted"));
  for (const std::string_view reference :
       {"&x;", "&", "& ", "&;", "&#;", "&#0;", "&#x;", "&#xD800;", "&#x110000;", "&#99999999999;",
        "&#1a;", "&lt", "&nbsp;"}) {
    whyRefused(domain(body() + "<title>" + std::string(reference) + "</title>"));
    whyRefused(domain(body() + "<title a='" + std::string(reference) + "'/>"));
  }
  accepted(domain(body() + "<title a='&lt;&gt;&amp;&quot;&apos;'>&#65;&#x41;</title>"));
}

TEST(DomainXml, RefusesTextThatIsNotXml) {
  for (const std::string_view wrong : {"<a>",
                                       "<a></b>",
                                       "<a/><",
                                       "<a b/>",
                                       "<a b=1/>",
                                       "<a b='1' b='2'/>",
                                       "<a b='<'/>",
                                       "<a b='1'c='2'/>",
                                       "<a b='1/>",
                                       "< a/>",
                                       "<1/>",
                                       "<!-- a -- b -->",
                                       "<!-- ",
                                       "<![CDATA[ ",
                                       "<?xml version='1.0'?>",
                                       "<?p",
                                       "<? ?>",
                                       "]]>",
                                       "<p:a/>",
                                       "<a p:b='1'/>",
                                       "<:a/>",
                                       "<a:b:c xmlns:a='x'/>",
                                       "</a>",
                                       "<a/ >",
                                       "\x01",
                                       "\x7f</x>",
                                       "\xC0\xAF",
                                       "\xED\xA0\x80",
                                       "\xF5\x80\x80\x80",
                                       "\xFF",
                                       "\xE2\x82"}) {
    whyRefused(domain(body() + std::string(wrong)));
  }
  whyRefused(domain(body()) + "x");
  whyRefused("x" + domain(body()));
  whyRefused(domain(body()) + domain(body()));
  whyRefused(domain(body()) + "<![CDATA[x]]>");
  whyRefused(std::string("<domain type='kvm'>") + '\0' + body() + "</domain>");
  whyRefused(domain(body()) + '\0');
  whyRefused("<?xml version='1.0' encoding='ISO-8859-1'?>" + domain(body()));
  whyRefused("<?xml version='1.0' encoding='UTF-16'?>" + domain(body()));
  accepted("\xEF\xBB\xBF<?xml version='1.0' encoding='utf-8'?>\n<!-- c --><?p i?>" +
           domain(body() + "<title>\xC3\xA4\xF0\x9F\x90\xA7</title>") + "\n<!-- d -->\n");
}

TEST(DomainXml, ErrorsNameTheLineInsideTheWholeDocument) {
  EXPECT_THAT(whyRefused("\xEF\xBB\xBF<domains>\n\n" + domain("\n" + body("<memory>x</memory>")) +
                         "</domains>"),
              StartsWith("line 4: <memory>: 'x' is not a whole number"));
}

TEST(DomainXml, ADomainMustStandAloneOutsideItsList) {
  const std::string prefixed =
      domain(body() + "<qemu:commandline><qemu:arg value='-S'/></qemu:commandline>");
  EXPECT_THAT(whyRefused("<domains xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>" +
                         prefixed + "</domains>"),
              HasSubstr("prefix 'qemu'"));
}

TEST(DomainXml, BoundsDepthAttributesAndSizes) {
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "<a>";
  EXPECT_THAT(whyRefused(domain(body() + deep)), HasSubstr("nested deeper than 64"));

  std::string attributes = "<a";
  for (int i = 0; i < 300; ++i) attributes += " a" + std::to_string(i) + "='1'";
  EXPECT_THAT(whyRefused(domain(body() + attributes + "/>")), HasSubstr("256 attributes"));

  const std::string huge = "<a b='" + std::string(300'000, 'x') + "'/>";
  EXPECT_EQ(refused(domain(body() + huge)).error_class, ErrorClass::TooLarge);

  DomainXmlLimits limits;
  limits.document_bytes = 10;
  EXPECT_EQ(refused(domain(body()), limits).error_class, ErrorClass::TooLarge);
  limits = {};
  limits.domains = 1;
  EXPECT_EQ(
      refused("<domains>" + domain(body()) + domain(body()) + "</domains>", limits).error_class,
      ErrorClass::TooLarge);
}

TEST(DomainXml, ReadsTenThousandDomains) {
  std::string text = "<domains>";
  for (int i = 0; i < 10'000; ++i) {
    const std::string digits = std::to_string(100'000 + i);
    text += domain(body("<memory>1</memory>", "<vcpu>1</vcpu>", "vm-" + digits,
                        "0b0e5ac4-7a4e-4f5c-9d3e-3c1f6a" + digits));
  }
  const auto result = parseDomainXml(text + "</domains>");
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(result->size(), 10'000U);
  text += domain(body());
  EXPECT_EQ(refused(text + "</domains>").error_class, ErrorClass::TooLarge);
}

TEST(DomainXml, NoPrefixOfADocumentIsAccepted) {
  const std::string text = "<?xml version='1.0'?><domains>" +
                           domain(body() +
                                  "<os><cmdline>&#65;\xC3\xA4</cmdline></os><!-- c --><a b='c'/>"
                                  "<metadata><p:q xmlns:p='u'><![CDATA[x]]></p:q></metadata>") +
                           "</domains>";
  for (std::size_t length = 0; length < text.size(); ++length) {
    whyRefused(text.substr(0, length));
  }
  accepted(text);
}

TEST(DomainXml, AnyDamagedByteEitherFailsCleanlyOrStillReads) {
  const std::string text = domain(body() + "<a b='c'>&amp;</a>");
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (const char c : {'\0', '<', '>', '&', '"', '\'', '/', ' ', 'x', '\xFF'}) {
      std::string damaged = text;
      damaged[at] = c;
      const auto result = parseDomainXml(damaged);
      if (result) {
        EXPECT_EQ(result->size(), 1U);
        EXPECT_EQ(result->front().xml, damaged);
      }
    }
  }
}

TEST(XmlReader, ExcerptsKeepWholeCharacters) {
  EXPECT_EQ(excerptOf("a\xC3\xA4z", 2), "a...");
  EXPECT_EQ(excerptOf("a\nz", 9), "a?z");
}

}  // namespace
}  // namespace vms
