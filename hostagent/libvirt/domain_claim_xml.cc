#include "hostagent/libvirt/domain_claim_xml.h"

#include <charconv>
#include <cstdint>
#include <pugixml.hpp>
#include <system_error>

namespace vms::hostagent {
namespace {

constexpr unsigned kKeepAll = pugi::parse_full | pugi::parse_ws_pcdata;
constexpr std::size_t kBootIdMax = 128;

bool load(pugi::xml_document& tree, std::string_view xml, unsigned options) {
  return bool(tree.load_buffer(xml.data(), xml.size(), options, pugi::encoding_utf8));
}

std::string_view localName(std::string_view name) {
  const std::size_t colon = name.find(':');
  return colon == std::string_view::npos ? name : name.substr(colon + 1);
}

/// The namespace that `node`'s own name is in, empty for none.
std::string_view namespaceOf(pugi::xml_node node) {
  const std::string_view name = node.name();
  const std::size_t colon = name.find(':');
  const std::string declaration =
      colon == std::string_view::npos ? "xmlns" : "xmlns:" + std::string(name.substr(0, colon));
  for (; node; node = node.parent()) {
    const pugi::xml_attribute attribute = node.attribute(declaration.c_str());
    if (attribute) return attribute.value();
  }
  return {};
}

bool isClaim(pugi::xml_node node) {
  return node.type() == pugi::node_element && localName(node.name()) == "claim" &&
         namespaceOf(node) == kClaimNamespace;
}

std::optional<std::uint64_t> numberOf(pugi::xml_node node, const char* attribute) {
  const std::string_view digits = node.attribute(attribute).value();
  std::uint64_t value = 0;
  const char* const end = digits.data() + digits.size();
  const auto [rest, error] = std::from_chars(digits.data(), end, value);
  if (digits.empty() || error != std::errc{} || rest != end) return std::nullopt;
  return value;
}

std::optional<Claim> readAttributes(pugi::xml_node node, VmId domain) {
  const auto vm = Uuid::parse(node.attribute("vm").value());
  const auto attempt = Uuid::parse(node.attribute("attempt").value());
  const auto epoch = numberOf(node, "epoch");
  const auto term = numberOf(node, "term");
  const std::string_view want = node.attribute("want").value();
  Claim claim;
  claim.host = node.attribute("host").value();
  claim.boot_id = node.attribute("boot").value();
  if (!vm || VmId{*vm} != domain || !attempt || attempt->isNil()) return std::nullopt;
  if (!epoch || *epoch == 0 || !term) return std::nullopt;
  if (want != "running" && want != "paused") return std::nullopt;
  if (!isValidHostId(claim.host)) return std::nullopt;
  if (claim.boot_id.empty() || claim.boot_id.size() > kBootIdMax) return std::nullopt;
  claim.ref = AttemptRef{AttemptId{*attempt}, domain, Epoch{*epoch}};
  claim.term = Term{*term};
  claim.want_paused = want == "paused";
  return claim;
}

void writeAttributes(pugi::xml_node node, const Claim& claim, bool may_have_run) {
  node.append_attribute("host") = claim.host.c_str();
  node.append_attribute("boot") = claim.boot_id.c_str();
  node.append_attribute("vm") = claim.ref.vm.str().c_str();
  node.append_attribute("attempt") = claim.ref.attempt.str().c_str();
  node.append_attribute("epoch") = std::to_string(claim.ref.epoch.value).c_str();
  node.append_attribute("term") = std::to_string(claim.term.value).c_str();
  node.append_attribute("want") = claim.want_paused ? "paused" : "running";
  node.append_attribute("ran") = may_have_run ? "yes" : "no";
}

struct StringWriter final : pugi::xml_writer {
  void write(const void* data, std::size_t size) override {
    text.append(static_cast<const char*>(data), size);
  }
  std::string text;
};

}  // namespace

Result<std::string> addClaim(std::string_view domain_xml, const Claim& claim) {
  pugi::xml_document tree;
  const bool read = load(tree, domain_xml, kKeepAll);
  pugi::xml_node domain = tree.document_element();
  if (!read || std::string_view(domain.name()) != "domain") {
    return Error(ErrorClass::Invalid,
                 "the domain XML of vm " + claim.ref.vm.str() + " is not one <domain> element");
  }
  pugi::xml_node metadata = domain.child("metadata");
  if (!metadata) metadata = domain.append_child("metadata");
  for (const pugi::xml_node child : metadata.children()) {
    if (namespaceOf(child) == kClaimNamespace) {
      return Error(ErrorClass::Invalid, "the domain XML of vm " + claim.ref.vm.str() +
                                            " carries a claim already: remove it from <metadata>");
    }
  }
  pugi::xml_node node = metadata.append_child("vms:claim");
  node.append_attribute("xmlns:vms") = kClaimNamespace;
  writeAttributes(node, claim, false);
  StringWriter writer;
  tree.save(writer, "", pugi::format_raw | pugi::format_no_declaration, pugi::encoding_utf8);
  return std::move(writer.text);
}

std::string claimElementOfGuest(const Claim& claim) {
  pugi::xml_document tree;
  writeAttributes(tree.append_child("claim"), claim, true);
  StringWriter writer;
  tree.save(writer, "", pugi::format_raw | pugi::format_no_declaration, pugi::encoding_utf8);
  return std::move(writer.text);
}

bool saysNeverRan(std::string_view element_xml) {
  pugi::xml_document tree;
  if (!load(tree, element_xml, pugi::parse_default)) return false;
  return std::string_view(tree.document_element().attribute("ran").value()) == "no";
}

std::optional<Claim> readClaimElement(std::string_view element_xml, VmId domain) {
  pugi::xml_document tree;
  if (!load(tree, element_xml, pugi::parse_default)) return std::nullopt;
  const pugi::xml_node node = tree.document_element();
  // libvirt looked it up by namespace and may have dropped the declaration.
  const std::string_view own = namespaceOf(node);
  if (localName(node.name()) != "claim" || (!own.empty() && own != kClaimNamespace)) {
    return std::nullopt;
  }
  return readAttributes(node, domain);
}

std::optional<Claim> readClaim(std::string_view domain_xml, VmId domain) {
  pugi::xml_document tree;
  if (!load(tree, domain_xml, pugi::parse_default)) return std::nullopt;
  const pugi::xml_node root = tree.document_element();
  if (std::string_view(root.name()) != "domain") return std::nullopt;
  std::optional<Claim> found;
  for (const pugi::xml_node child : root.child("metadata").children()) {
    if (!isClaim(child)) continue;
    if (found) return std::nullopt;
    found = readAttributes(child, domain);
    if (!found) return std::nullopt;
  }
  return found;
}

std::string hostUuidOf(std::string_view capabilities_xml) {
  pugi::xml_document tree;
  if (!load(tree, capabilities_xml, pugi::parse_default)) return {};
  return tree.document_element().child("host").child("uuid").text().as_string();
}

}  // namespace vms::hostagent
