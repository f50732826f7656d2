#include "schema/vm_spec.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <optional>
#include <pugixml.hpp>
#include <unordered_map>
#include <utility>

#include "schema/base/memory_size.h"
#include "schema/xml_reader.h"

namespace vms {
namespace {

constexpr std::string_view kClaimNamespace = "urn:vmsrunner:claim:1";
constexpr std::size_t kNameMax = 128;
constexpr std::uint64_t kMemoryMax = std::uint64_t{1} << 50U;
constexpr std::uint64_t kKiB = 1024;
constexpr std::uint32_t kVcpusMax = 1024;
constexpr unsigned kParseOptions = pugi::parse_default | pugi::parse_ws_pcdata;

std::string quoted(std::string_view text) { return "'" + excerptOf(text) + "'"; }

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::string lowered(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

/// libvirt's units, compared without regard to case as libvirt does. "KB" and its like are decimal.
std::optional<std::uint64_t> bytesOfUnit(std::string_view unit) {
  if (unit.empty()) return kKiB;
  const std::string name = lowered(unit);
  if (name == "b" || name == "byte" || name == "bytes") return 1;
  constexpr std::string_view kLetters = "kmgtpe";
  const std::size_t power = kLetters.find(name[0]);
  if (power == std::string_view::npos) return std::nullopt;
  const std::string_view rest = std::string_view(name).substr(1);
  if (!rest.empty() && rest != "ib" && rest != "b") return std::nullopt;
  const std::uint64_t base = rest == "b" ? 1000 : 1024;
  std::uint64_t bytes = base;
  for (std::size_t i = 0; i < power; ++i) bytes *= base;
  return bytes;
}

struct Field {
  pugi::xml_node node;
  std::string text;
};

/// Reads one `<domain>` element. Positions are those of the whole document.
class DomainReader {
 public:
  DomainReader(std::string_view document, XmlSpan span) : document_(document), span_(span) {}

  Result<VmSpec> read() {
    const std::string_view slice = document_.substr(span_.begin, span_.end - span_.begin);
    const pugi::xml_parse_result parsed =
        tree_.load_buffer(slice.data(), slice.size(), kParseOptions, pugi::encoding_utf8);
    if (!parsed) {
      return xmlErrorAt(document_, span_.begin + static_cast<std::size_t>(parsed.offset),
                        parsed.description());
    }
    domain_ = tree_.document_element();
    if (const auto refused = checkNamespaces()) return *refused;
    VmSpec spec;
    if (const auto refused = readType(spec)) return *refused;
    if (const auto refused = readName(spec)) return *refused;
    if (const auto refused = readUuid(spec)) return *refused;
    if (const auto refused = readMemory(spec)) return *refused;
    if (const auto refused = readVcpus(spec)) return *refused;
    return spec;
  }

 private:
  Error refuse(pugi::xml_node node, std::string_view message) const {
    const std::ptrdiff_t offset = std::max<std::ptrdiff_t>(node.offset_debug(), 0);
    return xmlErrorAt(document_, span_.begin + static_cast<std::size_t>(offset),
                      "<" + excerptOf(node.name()) + ">: " + std::string(message));
  }

  /// Whoever declares the claim's namespace anywhere could only mean to forge a claim.
  std::optional<Error> checkNamespaces() {
    if (!domain_.attribute("xmlns").empty()) {
      return refuse(domain_, "must not be in a namespace: remove its xmlns");
    }
    struct Walker final : pugi::xml_tree_walker {
      bool for_each(pugi::xml_node& node) override {
        for (const pugi::xml_attribute attribute : node.attributes()) {
          const std::string_view name = attribute.name();
          const bool declares = name == "xmlns" || name.starts_with("xmlns:");
          if (declares && trimmed(attribute.value()) == kClaimNamespace) {
            found = node;
            return false;
          }
        }
        return true;
      }
      pugi::xml_node found;
    } walker;
    tree_.traverse(walker);
    if (walker.found.empty()) return std::nullopt;
    return refuse(walker.found, "carries a claim (namespace " + std::string(kClaimNamespace) +
                                    "), which only a host agent may set: remove the element");
  }

  /// The one child element of that name and its text.
  Result<Field> only(const char* name) const {
    const pugi::xml_node node = domain_.child(name);
    if (node.empty()) {
      return refuse(domain_, "has no <" + std::string(name) + ">: add exactly one");
    }
    if (!node.next_sibling(name).empty()) {
      return refuse(node.next_sibling(name), "is repeated: keep exactly one");
    }
    if (!node.attribute("xmlns").empty()) return refuse(node, "must not be in a namespace");
    Field field{node, {}};
    for (const pugi::xml_node part : node.children()) {
      if (part.type() == pugi::node_element) {
        return refuse(node, "must contain text only, not <" + excerptOf(part.name()) + ">");
      }
      field.text += part.value();
    }
    return field;
  }

  std::optional<Error> readType(VmSpec& spec) const {
    const std::string_view type = domain_.attribute("type").value();
    const bool plain =
        !type.empty() && type.size() <= 32 && std::all_of(type.begin(), type.end(), [](char c) {
          return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
        });
    if (!plain) {
      return refuse(domain_, type.empty() ? "has no type attribute: for example type='kvm'"
                                          : "type " + quoted(type) + " is not a hypervisor's name");
    }
    spec.domain_type = type;
    return std::nullopt;
  }

  std::optional<Error> readName(VmSpec& spec) const {
    const Result<Field> field = only("name");
    if (!field) return field.error();
    const std::string& name = field->text;
    if (name.empty() || name.size() > kNameMax) {
      return refuse(field->node, "a name has 1 to " + std::to_string(kNameMax) +
                                     " bytes, this one has " + std::to_string(name.size()));
    }
    if (trimmed(name).size() != name.size()) {
      return refuse(field->node, "the name begins or ends with white space: remove it");
    }
    const bool unfit =
        name.find('/') != std::string::npos || std::any_of(name.begin(), name.end(), [](char c) {
          return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
        });
    if (unfit) {
      return refuse(field->node, "name " + quoted(name) + " contains '/' or a control character");
    }
    if (name == "." || name == "..") return refuse(field->node, quoted(name) + " is not a name");
    spec.name = name;
    return std::nullopt;
  }

  std::optional<Error> readUuid(VmSpec& spec) const {
    const Result<Field> field = only("uuid");
    if (!field) return field.error();
    const std::optional<Uuid> uuid = Uuid::parse(trimmed(field->text));
    if (!uuid || uuid->isNil()) {
      return refuse(field->node, quoted(field->text) +
                                     " is not a UUID: write it as 8-4-4-4-12 hexadecimal digits, "
                                     "not all zero");
    }
    spec.id = VmId{*uuid};
    return std::nullopt;
  }

  std::optional<Error> readMemory(VmSpec& spec) const {
    const Result<Field> field = only("memory");
    if (!field) return field.error();
    const std::string_view unit = field->node.attribute("unit").value();
    const std::optional<std::uint64_t> scale = bytesOfUnit(unit);
    if (!scale) {
      return refuse(field->node, "unit " + quoted(unit) +
                                     " is not known; use b, KiB, MiB, GiB, TiB, KB, MB, GB or TB");
    }
    const Result<std::uint64_t> count = number(*field);
    if (!count) return count.error();
    if (*count == 0) return refuse(field->node, "must be more than zero");
    // Like libvirt, which counts in KiB, rounds up.
    if (*count > kMemoryMax / *scale || *count * *scale > kMemoryMax) {
      return refuse(field->node, quoted(field->text) + " is more than 1024 TiB");
    }
    spec.memory = (*count * *scale + kKiB - 1) / kKiB * kKiB;
    return std::nullopt;
  }

  std::optional<Error> readVcpus(VmSpec& spec) const {
    const Result<Field> field = only("vcpu");
    if (!field) return field.error();
    const Result<std::uint64_t> count = number(*field);
    if (!count) return count.error();
    if (*count == 0 || *count > kVcpusMax) {
      return refuse(field->node,
                    quoted(field->text) + " is out of range: 1 to " + std::to_string(kVcpusMax));
    }
    spec.vcpus = static_cast<std::uint32_t>(*count);
    return std::nullopt;
  }

  Result<std::uint64_t> number(const Field& field) const {
    const std::string_view digits = trimmed(field.text);
    std::uint64_t value = 0;
    const char* const end = digits.data() + digits.size();
    const auto [rest, error] = std::from_chars(digits.data(), end, value);
    if (error == std::errc::result_out_of_range) {
      return refuse(field.node, quoted(digits) + " is too large");
    }
    if (digits.empty() || error != std::errc{} || rest != end) {
      return refuse(field.node, quoted(digits) + " is not a whole number");
    }
    return value;
  }

  std::string_view document_;
  XmlSpan span_;
  pugi::xml_document tree_;
  pugi::xml_node domain_;
};

/// Finds names and UUIDs that two domains of one document share.
class Duplicates {
 public:
  explicit Duplicates(std::string_view document) : document_(document) {}

  std::optional<Error> add(const VmSpec& spec, std::size_t position) {
    const auto [name, new_name] = names_.try_emplace(spec.name, position);
    if (!new_name) return refuse(position, "name", quoted(spec.name), name->second);
    const auto [uuid, new_uuid] = uuids_.try_emplace(spec.id, position);
    if (!new_uuid) return refuse(position, "uuid", spec.id.str(), uuid->second);
    return std::nullopt;
  }

 private:
  Error refuse(std::size_t position, std::string_view element, const std::string& value,
               std::size_t earlier) const {
    return xmlErrorAt(document_, position,
                      "<" + std::string(element) + ">: " + value +
                          " belongs to the domain of line " +
                          std::to_string(lineOf(document_, earlier)) + " already");
  }

  std::string_view document_;
  std::unordered_map<std::string, std::size_t> names_;
  std::unordered_map<VmId, std::size_t> uuids_;
};

Result<std::vector<XmlSpan>> domainsOf(std::string_view text, const DomainXmlLimits& limits) {
  XmlLimits xml_limits;
  xml_limits.depth = limits.depth;
  xml_limits.children = std::max(limits.domains, xml_limits.children);
  const Result<XmlOutline> outline = outlineXml(text, xml_limits);
  if (!outline) return outline.error();
  if (outline->root.name == "domain") return std::vector<XmlSpan>{outline->root};
  if (outline->root.name != "domains") {
    return xmlErrorAt(text, outline->root.begin,
                      "the root element is <" + excerptOf(outline->root.name) +
                          ">: give one <domain>, or many in one <domains>");
  }
  if (outline->children.empty()) {
    return xmlErrorAt(text, outline->root.begin, "<domains>: contains no <domain>");
  }
  if (outline->children.size() > limits.domains) {
    return Error(ErrorClass::TooLarge, "<domains>: contains " +
                                           std::to_string(outline->children.size()) +
                                           " domains, at most " + std::to_string(limits.domains) +
                                           " are accepted at once: split the document");
  }
  for (const XmlSpan& child : outline->children) {
    if (child.name == "domain") continue;
    return xmlErrorAt(
        text, child.begin,
        "<domains>: contains <" + excerptOf(child.name) + ">, only <domain> is allowed");
  }
  return outline->children;
}

}  // namespace

Result<std::vector<VmDocument>> parseDomainXml(std::string_view text,
                                               const DomainXmlLimits& limits) {
  if (text.size() > limits.document_bytes) {
    return Error(ErrorClass::TooLarge,
                 "the document has " + std::to_string(text.size()) + " bytes, more than the " +
                     formatMemorySize(limits.document_bytes) + " that are accepted: split it");
  }
  const Result<std::vector<XmlSpan>> domains = domainsOf(text, limits);
  if (!domains) return domains.error();
  std::vector<VmDocument> documents;
  documents.reserve(domains->size());
  Duplicates duplicates(text);
  for (const XmlSpan& span : *domains) {
    const std::string_view slice = text.substr(span.begin, span.end - span.begin);
    if (slice.size() > limits.domain_bytes) {
      return Error(ErrorClass::TooLarge,
                   "line " + std::to_string(lineOf(text, span.begin)) + ": <domain>: has " +
                       std::to_string(slice.size()) + " bytes, more than the " +
                       formatMemorySize(limits.domain_bytes) + " that are accepted");
    }
    // A domain that leaned on a declaration of <domains> would not stand alone.
    XmlLimits xml_limits;
    xml_limits.depth = limits.depth;
    if (domains->size() > 1 || slice.size() != text.size()) {
      const Result<XmlOutline> alone = outlineXml(slice, xml_limits);
      if (!alone) {
        return Error(alone.error().error_class,
                     "line " + std::to_string(lineOf(text, span.begin)) +
                         ": <domain>: taken by itself: " + alone.error().message);
      }
    }
    Result<VmSpec> spec = DomainReader(text, span).read();
    if (!spec) return spec.error();
    if (const auto refused = duplicates.add(*spec, span.begin)) return *refused;
    documents.push_back({std::move(*spec), std::string(slice)});
  }
  return documents;
}

}  // namespace vms
